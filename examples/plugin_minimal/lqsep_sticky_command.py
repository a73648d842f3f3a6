"""The command ``lqsep sticky``, imported when it is called."""

import click


@click.command()
@click.argument("stay", type=click.FloatRange(0, 1, max_open=True))
@click.option("--codes", type=click.IntRange(min=2), default=2048, show_default=True)
def sticky(stay, codes):
    """Tell how many frames the prior stays on a code, on average.

    STAY is the prior's setting of that name; CODES is the size of the codec's codebook.
    """
    # Moving on may draw the same code again.
    leaves = (1 - stay) * (1 - 1 / codes)
    click.echo(f"{1 / leaves:.3g} frames")

"""Sphinx configuration."""

from importlib.metadata import version as _version

project = "lqsep"
author = "the lqsep authors"
copyright = "2026, the lqsep authors"
release = _version("lqsep")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_click",
]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
default_role = "code"

html_theme = "furo"
html_title = "lqsep"

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True}
# Printed by its name rather than spelled out.
autodoc_type_aliases = {"MixtureLike": "MixtureLike"}

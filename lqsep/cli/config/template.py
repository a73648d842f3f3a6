"""What ``lqsep config init`` writes: a pipeline to train on one's own recordings."""

TEMPLATE = """\
# A pipeline of lqsep: what is trained, and how mixtures are separated with it.
#   lqsep config check FILE                      what is wrong with this file
#   lqsep components show KIND NAME              every setting of a component, with its default
#   lqsep train codec --config FILE -o my-model
#   lqsep train prior --config FILE -o my-model --source drums
#   lqsep separate mix.wav -n my-model
version = 1

[codec]
type = "lq-vae"
checkpoint = "codec.safetensors"

# The sources, in order. The gain is the linear factor of a source in the mixture.
[sources.drums]
gain = 0.5
prior = { type = "transformer", checkpoint = "prior.drums.safetensors" }

[sources.bass]
gain = 0.5
prior = { type = "transformer", checkpoint = "prior.bass.safetensors" }

[likelihood]
type = "codebook-sum"

[sampler]
type = "ancestral"

[selector]
type = "mean"

# Applied in this order.
[[refiners]]
type = "wiener"

[[refiners]]
type = "consistency"

# Training data: <root>/<split>/<track>/<source>.wav, as `lqsep data render -o data` writes them;
# paths relative to this file.
[data.train]
type = "track-folders"
root = "data"
split = "train"

[data.validation]
type = "track-folders"
root = "data"
split = "validation"

[train.codec]
steps = 20000

[train.prior]
steps = 20000
"""

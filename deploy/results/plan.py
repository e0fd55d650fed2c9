"""What the results page compares: jobs under deploy/jobs, and what differs from them.

A run is a job file, a seed and overrides. Every run of a table has the same data, encoder, epochs and batch.
"""

SEEDS = (0, 1, 2)

# The same for every run.
SETTING = {
    "recipe.data.limit": 20000,
    "recipe.training.epochs": 4,
    "recipe.training.global_batch": 256,
    "recipe.evaluation.knn.every_epochs": 4,
}

# The table of methods, beside the first one. Each has a job deploy/jobs/NAME-fashion-mnist.yaml, with hyphens. CMC is not among them: grey
# images have no colours to split.
METHODS = (
    "moco_v2",
    "sane",
    "isd",
    "sce",
    "infomin",
    "pcl",
    "pauc_r",
    "moco_v1",
    "moco_v3",
    "simclr",
    "byol",
    "simsiam",
    "ressl",
    "co2",
    "swav",
    "insdis",
    "clsa",
)

# Names that people read.
TITLES = {
    "moco_v2": "MoCo v2",
    "sane": "SANE",
    "isd": "ISD",
    "sce": "SCE",
    "infomin": "InfoMin Aug",
    "pcl": "PCL",
    "pauc_r": "PAUC-R (reconstruction)",
    "moco_v1": "MoCo v1",
    "moco_v3": "MoCo v3",
    "simclr": "SimCLR",
    "byol": "BYOL",
    "simsiam": "SimSiam",
    "ressl": "ReSSL",
    "co2": "CO2",
    "swav": "SwAV",
    "insdis": "InsDis",
    "clsa": "CLSA",
}

# Ablations: a heading, what the paper reports, and rows of (label, method, overrides).
ABLATIONS = (
    (
        "SCE: share λ of the one-hot target",
        "The paper's best is 0.5 (82.94 % on ImageNet-100); 0 and 1 give 81.53 % and 81.11 %.",
        [(f"λ = {value}", "sce", {"recipe.method.sce.lambda": value}) for value in (0.0, 0.25, 0.5, 0.75, 1.0)],
    ),
    (
        "SANE: refined labels (p, q) and momentum mixup (MM)",
        "The paper's full method is best (95.9 % on CIFAR-10), without all three it is 93.7 %.",
        [
            ("none", "sane", {"recipe.method.sane.mixup_share": 0.0}),
            ("MM", "sane", {"recipe.method.sane.label_weight_start": 0.0, "recipe.method.sane.label_weight_end": 0.0}),
            ("p + q + MM", "sane", {}),
        ],
    ),
)


def runs():
    """Every run as (method, seed, overrides), each once."""
    found = [(method, seed, {}) for seed in SEEDS for method in METHODS]
    for _, _, rows in ABLATIONS:
        found += [(method, seed, overrides) for seed in SEEDS for _, method, overrides in rows]
    unique = []
    for run in found:
        if run not in unique:
            unique.append(run)
    return unique

"""Writes the results page from the runs that are there."""

import statistics

import plan

FIGURES = (("knn_accuracy_percent", "kNN"), ("linear_accuracy_percent", "linear"))
RANDOM = "knn_random_encoder_percent"


def write(path, runs):
    """`runs` maps (method, seed, overrides) to what was kept of the run."""
    parts = [head(runs), methods(runs)]
    parts += [ablation(runs, *about) for about in plan.ABLATIONS]
    parts.append(shortfalls(runs))
    path.write_text("\n".join(part for part in parts if part))
    print(f"results: {path}")


def head(runs):
    dates = sorted({run["date"] for run in runs.values()})
    commits = sorted({run["commit"] for run in runs.values()})
    span = "no run yet" if not dates else dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    setting = ", ".join(f"`{key}={value}`" for key, value in plan.SETTING.items())
    return (
        "# Results\n\n"
        "Made by `make results` from the runs in `runs/`; do not edit. Fashion-MNIST, ResNet-18 of width 16 with the CIFAR stem, "
        "each method's job from `deploy/jobs/`, two ranks on the CPU.\n\n"
        f"Runs of {span}; code {', '.join(commits) or '–'}. The same for all: {setting}. Accuracies in percent, mean ± standard deviation "
        f"over seeds; kNN is cosine-weighted with k = 20 and temperature 0.07 on all images that were trained on.\n"
    )


def of(runs, method, overrides, figure):
    """The values of a figure over the seeds that were run."""
    keys = [(method, seed, tuple(sorted(overrides.items()))) for seed in plan.SEEDS]
    return [runs[key]["metrics"][figure] for key in keys if key in runs and figure in runs[key]["metrics"]]


def spread(values):
    return statistics.stdev(values) if len(values) > 1 else 0.0


def cell(values):
    if not values:
        return "–"
    return f"{statistics.mean(values):.2f} ± {spread(values):.2f} (n={len(values)})"


def difference(values, others):
    if not values or not others:
        return "–"
    return f"{statistics.mean(values) - statistics.mean(others):+.2f}"


def methods(runs):
    lines = ["## Every method\n", "| method | kNN | beside MoCo v2 | above a random encoder | linear | beside MoCo v2 |",
             "| --- | --: | --: | --: | --: | --: |"]
    for method in plan.METHODS:
        knn, linear = (of(runs, method, {}, figure) for figure, _ in FIGURES)
        beside = [of(runs, plan.METHODS[0], {}, figure) for figure, _ in FIGURES]
        above = difference(knn, of(runs, method, {}, RANDOM))
        lines.append(f"| {plan.TITLES[method]} | {cell(knn)} | {difference(knn, beside[0])} | {above} | {cell(linear)} | "
                     f"{difference(linear, beside[1])} |")
    return "\n".join(lines) + "\n"


def ablation(runs, title, expected, rows):
    lines = [f"## {title}\n", expected + "\n", "| form | kNN | linear |", "| --- | --: | --: |"]
    for label, method, overrides in rows:
        lines.append(f"| {label} | " + " | ".join(cell(of(runs, method, overrides, figure)) for figure, _ in FIGURES) + " |")
    return "\n".join(lines) + "\n"


def shortfalls(runs):
    """What did not come out as expected."""
    lines = []
    base = of(runs, plan.METHODS[0], {}, FIGURES[0][0])
    for method in plan.METHODS:
        knn, random = of(runs, method, {}, FIGURES[0][0]), of(runs, method, {}, RANDOM)
        if knn and statistics.mean(knn) < statistics.mean(random) + 5:
            lines.append(f"- {plan.TITLES[method]} is {difference(knn, random)} points above a random encoder, not 5.")
        if method in ("sce", "sane", "isd") and knn and base:
            deviation = max(spread(knn), spread(base))
            if statistics.mean(knn) < statistics.mean(base) - deviation:
                lines.append(f"- {plan.TITLES[method]} is {difference(knn, base)} points beside MoCo v2, more than one deviation "
                             f"({deviation:.2f}) below.")
    return "## What did not come out as expected\n\n" + ("\n".join(lines) if lines else "Nothing among the runs above.") + "\n"

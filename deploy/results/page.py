"""Writes the results page from the runs that are there."""

import statistics

import plan

BASE, KNN, LINEAR = "moco_v2", plan.KNN[0], plan.LINEAR[0]


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
        "Made by `make results` from the runs in `runs/`; do not edit. Fashion-MNIST, ResNet-18 with the CIFAR stem, each method's "
        "job from `deploy/jobs/` with the settings below, on the CPU.\n\n"
        f"Runs of {span}; code {', '.join(commits) or '–'}. The same for all: {setting}. Accuracies in percent, mean ± standard deviation "
        f"over seeds; kNN is cosine-weighted with k = 20 and temperature 0.07 on all images that were trained on.\n"
    )


def of(runs, method, overrides, figure, seeds=plan.SEEDS):
    """The values of a figure over the seeds that were run."""
    keys = [(method, seed, tuple(sorted(overrides.items()))) for seed in seeds]
    return [runs[key]["metrics"][figure] for key in keys if key in runs and figure in runs[key]["metrics"]]


def spread(values):
    return statistics.stdev(values) if len(values) > 1 else 0.0


def cell(values, decimals=2):
    if not values:
        return "–"
    deviation = f" ± {spread(values):.{decimals}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{decimals}f}{deviation} (n={len(values)})"


def difference(values, others):
    if not values or not others:
        return "–"
    return f"{statistics.mean(values) - statistics.mean(others):+.2f}"


def methods(runs):
    lines = ["## Every method\n", "| method | kNN | beside MoCo v2 | above a random encoder | linear | beside MoCo v2 | minutes |",
             "| --- | --: | --: | --: | --: | --: | --: |"]
    base_knn, base_linear = (of(runs, BASE, {}, figure) for figure in (KNN, LINEAR))
    for method, title in plan.METHODS.items():
        knn, linear = (of(runs, method, {}, figure) for figure in (KNN, LINEAR))
        seconds = [run["seconds"] for key, run in runs.items() if key[0] == method and not key[2]]
        minutes = f"{statistics.median(seconds) / 60:.1f}" if seconds else "–"
        cells = [title, cell(knn), difference(knn, base_knn), difference(knn, of(runs, method, {}, plan.RANDOM)), cell(linear),
                 difference(linear, base_linear), minutes]
        lines.append(f"| {' | '.join(cells)} |")
    settings = {plan.METHODS[method]: own for method, own in plan.OF_METHOD.items()}
    own = "; ".join(f"{title}: " + ", ".join(f"`{key}={value}`" for key, value in own.items()) for title, own in settings.items())
    lines += ["", f"{plan.WHY_OF_METHOD} {own}."]
    return "\n".join(lines) + "\n"


def ablation(runs, title, expected, columns, rows):
    lines = [f"## {title}\n", expected + "\n", f"| form | {' | '.join(heading for _, heading, _ in columns)} |",
             "| --- |" + " --: |" * len(columns)]
    seeds = common_seeds(runs, rows)
    for label, method, overrides in rows:
        cells = [cell(of(runs, method, overrides, figure, seeds), decimals) for figure, _, decimals in columns]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def common_seeds(runs, rows):
    """The seeds with which every form was run: only those can be put side by side."""
    return [seed for seed in plan.SEEDS if all((method, seed, tuple(sorted(own.items()))) in runs for _, method, own in rows)]


def other_best(runs, title, rows):
    """Says so where another form than the paper's is the best one, and how little a seed alone can say."""
    seeds = common_seeds(runs, rows)
    values = {label: of(runs, method, overrides, KNN, seeds) for label, method, overrides in rows}
    means = {label: statistics.mean(found) for label, found in values.items() if found}
    expected = plan.BEST_IN_PAPER.get(title)
    if expected not in means or max(means, key=means.get) == expected:
        return []
    best = max(means, key=means.get)
    deviation = max(spread(of(runs, method, own, KNN)) for _, method, own in rows)
    return [f"- {title}: the paper's best is {expected}, here it is {best} ({means[best]:.2f} against {means[expected]:.2f} kNN with the same "
            f"seed; over seeds it deviates by {deviation:.2f})."]


def shortfalls(runs):
    """What did not come out as expected, and what was not run yet."""
    n_planned = len(plan.runs())
    lines = [f"- {n_planned - len(runs)} of {n_planned} runs are still to be made."] if len(runs) < n_planned else []
    base = of(runs, BASE, {}, KNN)
    for method in plan.METHODS:
        knn, random = of(runs, method, {}, KNN), of(runs, method, {}, plan.RANDOM)
        if knn and statistics.mean(knn) < statistics.mean(random) + 5:
            lines.append(f"- {plan.METHODS[method]} is {difference(knn, random)} points above a random encoder, not 5.")
        if method in ("sce", "sane", "isd") and knn and base:
            deviation = max(spread(knn), spread(base))
            if statistics.mean(knn) < statistics.mean(base) - deviation:
                lines.append(f"- {plan.METHODS[method]} is {difference(knn, base)} points beside MoCo v2, more than one deviation "
                             f"({deviation:.2f}) below.")
    lines += [line for title, _, _, rows in plan.ABLATIONS for line in other_best(runs, title, rows)]
    return "## What did not come out as expected\n\n" + ("\n".join(lines) if lines else "Nothing among the runs above.") + "\n"

"""Comparison of two runs over the items that both have: what changed, how sure that is, and what could have been seen.

Imported only where runs are compared, since scipy takes a second to import.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from math import ceil, log, log1p, sqrt
from statistics import NormalDist
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import brentq

from fieval_tasks.decisions.statistics import Interval

Figures: TypeAlias = NDArray[np.float64]
"""One number from 0 to 1 an item: its score, or 1 where it passed and 0 where it failed. NaN: no verdict."""

_Z = NormalDist()


class ComparisonVerdict(str, Enum):
    """What a comparison says of one check."""

    SAME = "SAME"
    """The interval of the difference lies within the margin."""
    BETTER = "BETTER"
    """The difference is significant, to the good side."""
    WORSE = "WORSE"
    """The difference is significant, to the bad side."""
    CANT_TELL = "CANT_TELL"
    """None of these: too few pairs, or verdicts are missing that could change the answer."""


@dataclass(frozen=True)
class Terms:
    """What counts as a difference."""

    margin: float = 0.02
    """A difference of the rates or means that is as good as none."""
    alpha: float = 0.05
    """The chance that any check is called BETTER or WORSE though nothing changed (Holm); intervals cover 1 - alpha."""
    power: float = 0.8
    """The chance with which a detectable change is found: the usual one (J. Cohen, 1988, p. 56)."""

    @property
    def least_for_same(self) -> int:
        """Independent pairs without which no check is called SAME: three without any difference show no spread either."""
        return ceil(log(self.alpha / 2) / log1p(-self.margin)) if 0 < self.margin < 1 else 1


@dataclass(frozen=True)
class Paired:
    """One check's items that both runs have, in one order."""

    run: Figures
    baseline: Figures
    is_rate: bool
    """The figures are passes; if False, scores."""
    higher_is_better: bool = True
    unrecognised: int = 0
    """So many of the items, without a verdict here, may or may not be some of the baseline's."""
    clusters: NDArray[np.int64] | None = None
    """A number for each item: items with the same one are not independent, such as the turns of a conversation."""


@dataclass(frozen=True)
class Compared:
    """What changed in one check."""

    n_pairs: int
    """Items with a verdict in both runs."""
    n_independent: int
    """Clusters of pairs; without clusters, the pairs."""
    metric: str
    """pass_rate or mean."""
    run: float | None
    baseline: float | None
    difference: float | None
    """run - baseline, over the pairs."""
    interval: Interval | None
    """Of the difference, at 1 - alpha. None with fewer than two independent pairs."""
    p_value: float | None
    p_holm: float | None
    """Adjusted for all comparisons of this call."""
    verdict: ComparisonVerdict
    regressions: int
    """Pairs that passed in the baseline and fail now; of scores, those that are worse."""
    fixes: int
    """Pairs that failed in the baseline and pass now; of scores, those that are better."""
    detectable: float | None
    """The smallest difference that so many pairs show with the terms' power. None: they could have shown none at all."""
    pairs_needed: int | None
    """Pairs that show a difference as large as the margin with that power. None where there are none to go by."""
    missing: int
    """Items of both runs that lack a verdict in one."""
    bounds: Interval | None = None
    """Of the difference over all items of both runs, whatever the missing verdicts would be. None: there are no items."""
    most_regressions: int = 0
    """The regressions, if each verdict that the run is missing were the worst that it could be."""
    is_open: bool = False
    """Whether the missing verdicts, at their best or worst, would change the verdict, which is CANT_TELL therefore; or no
    pair has any."""


def compare(checks: Mapping[str, Paired], terms: Terms = Terms()) -> dict[str, Compared]:
    """Each check's change, Holm-adjusted over all of them.

    Where verdicts are missing, the same is asked with each at its worst and at its best; a verdict stands only where all
    three agree. So no verdict can be had by leaving items without one.
    """
    found = _judged(checks, terms)
    if not any(one.missing for one in found.values()):
        return {name: _with_ends(checks[name], one, one, one) for name, one in found.items()}
    worst, best = (
        _judged({name: _filled(pair, good) for name, pair in checks.items()}, terms) for good in (False, True)
    )
    return {name: _with_ends(checks[name], one, worst[name], best[name]) for name, one in found.items()}


def _with_ends(pair: Paired, found: Compared, worst: Compared, best: Compared) -> Compared:
    is_open = bool(found.missing) and (not found.n_pairs or {worst.verdict, best.verdict} != {found.verdict})
    ends = [end.difference for end in (worst, best) if end.difference is not None]
    return replace(
        found,
        bounds=(min(ends), max(ends)) if ends else None,
        most_regressions=found.regressions + _open_regressions(pair),
        is_open=is_open,
        verdict=ComparisonVerdict.CANT_TELL if is_open else found.verdict,
    )


def _open_regressions(pair: Paired) -> int:
    """Items that may have become worse, were their verdicts known. One that the baseline has no verdict on did not pass there."""
    could_fall = pair.baseline > 0.0 if pair.higher_is_better else pair.baseline < 1.0
    return int((np.isnan(pair.run) & could_fall).sum()) + pair.unrecognised


def _filled(pair: Paired, good: bool) -> Paired:
    """The pair with each missing verdict as good, or as bad, for the run as it can be."""
    now, before = (1.0, 0.0) if good == pair.higher_is_better else (0.0, 1.0)
    return replace(pair, run=np.nan_to_num(pair.run, nan=now), baseline=np.nan_to_num(pair.baseline, nan=before))


def _judged(checks: Mapping[str, Paired], terms: Terms) -> dict[str, Compared]:
    each = replace(terms, alpha=terms.alpha / max(len(checks), 1))  # the first step of Holm: the strictest
    found = {name: _compared(pair, terms, each) for name, pair in checks.items()}
    tested = {name: one.p_value for name, one in found.items() if one.p_value is not None}
    for name, p in zip(tested, holm([*tested.values()]), strict=True):
        one = replace(found[name], p_holm=float(p))
        found[name] = replace(one, verdict=_verdict(one, terms, higher_is_better=checks[name].higher_is_better))
    return found


def holm(p_values: Sequence[float]) -> NDArray[np.float64]:
    """Holm's p-values of tests that are made together, in their order (Scandinavian Journal of Statistics 6 (1979) 65).

    statsmodels has them too, and takes longer to import than all else that a comparison does.
    """
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p)
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)).clip(max=1.0)
    return adjusted


def _verdict(found: Compared, terms: Terms, *, higher_is_better: bool) -> ComparisonVerdict:
    if found.p_holm is not None and found.p_holm < terms.alpha and found.difference:
        is_good = (found.difference > 0) == higher_is_better
        return ComparisonVerdict.BETTER if is_good else ComparisonVerdict.WORSE
    is_within = found.interval is not None and all(abs(end) <= terms.margin for end in found.interval)
    is_enough = found.n_independent >= terms.least_for_same
    return ComparisonVerdict.SAME if is_within and is_enough else ComparisonVerdict.CANT_TELL


def _compared(pair: Paired, terms: Terms, each: Terms) -> Compared:
    known = ~(np.isnan(pair.run) | np.isnan(pair.baseline))
    run, baseline = pair.run[known], pair.baseline[known]
    clusters = None if pair.clusters is None else pair.clusters[known]
    n, differences = len(run), run - baseline
    worse, better = int((differences < 0).sum()), int((differences > 0).sum())
    sums, sizes = clustered(differences, clusters)
    spread = None
    if n == 0:
        interval, p_value = None, None
    elif pair.is_rate and clusters is None:
        interval, p_value = rate_interval(worse, better, n, terms.alpha), mcnemar(worse, better)
    else:
        interval, p_value = mean_interval(sums, sizes, terms.alpha), sign_flips(sums)
        spread = _spread(sums, sizes)
    seen = _Seen(n, (worse + better) / n if n else 0.0, spread)
    return Compared(
        n_pairs=n,
        n_independent=len(sums),
        metric="pass_rate" if pair.is_rate else "mean",
        run=float(run.mean()) if n else None,
        baseline=float(baseline.mean()) if n else None,
        difference=float(differences.mean()) if n else None,
        interval=interval,
        p_value=p_value,
        p_holm=None,
        verdict=ComparisonVerdict.CANT_TELL,
        regressions=worse if pair.higher_is_better else better,
        fixes=better if pair.higher_is_better else worse,
        detectable=seen.detectable(each),
        pairs_needed=seen.needed(terms.margin, each),
        missing=int((~known).sum()),
    )


# -- tests and intervals -------------------------------------------------------------------------------------------


def mcnemar(worse: int, better: int) -> float:
    """The two-sided mid-p value of McNemar's test.

    M. W. Fagerland, S. Lydersen and P. Laake, "The McNemar test for binary matched-pairs data: mid-p and asymptotic are
    better than exact conditional", BMC Medical Research Methodology 13 (2013) 91. statsmodels has no mid-p.
    """
    smaller, n = min(worse, better), worse + better
    return min(1.0, float(2 * stats.binom.cdf(smaller, n, 0.5) - stats.binom.pmf(smaller, n, 0.5)))


def rate_interval(down: int, up: int, n: int, alpha: float) -> Interval:
    """Wald's interval of the difference of paired rates with the Laplace adjustment: it has a width where nothing flipped.

    D. G. Bonett and R. M. Price, "Adjusted Wald confidence interval for a difference of binomial proportions based on
    paired data", J. Educational and Behavioral Statistics 37 (2012) 479-488; recommended by Fagerland, Lydersen and Laake,
    Statistics in Medicine 33 (2014) 2850-2875.
    """
    worse, better = (down + 1) / (n + 2), (up + 1) / (n + 2)
    reach = _Z.inv_cdf(1 - alpha / 2) * sqrt((worse + better - (better - worse) ** 2) / (n + 2))
    return max(-1.0, better - worse - reach), min(1.0, better - worse + reach)


MOST_FLIPPED = 2_000
"""Independent differences up to which signs are flipped at random. With more the sum is normal to three digits, and
scipy's random flips of 100,000 take 80 s."""
RESAMPLES = 4_999
"""p-values then are multiples of 1/5,000, fine enough for Holm over a hundred checks."""
_NOISE = 1e-9
"""Differences of floats up to which they are the same."""
BATCH = 500_000
"""Numbers that a resampling holds at a time: some 20 MB."""


def sign_flips(differences: Figures) -> float:
    """The two-sided p-value of the paired permutation test: under no change each difference may have either sign."""
    moved = differences[differences != 0]  # a sign does nothing to the others
    if len(moved) < 2:  # either sign of a single one is as far from 0
        return 1.0
    if len(moved) > MOST_FLIPPED:  # the flipped sum has mean 0 and this variance exactly
        return 2 * _Z.cdf(-float(abs(moved.sum()) / sqrt((moved**2).sum())))
    tested = stats.permutation_test(
        (moved,),
        lambda x, axis: x.sum(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=max(1, BATCH // len(moved)),
        rng=np.random.default_rng(0),  # the same runs compared again say the same
    )
    return float(tested.pvalue)


def mean_interval(sums: Figures, sizes: Figures, alpha: float) -> Interval | None:
    """The bootstrap interval of the mean difference, over independent clusters of differences; None for fewer than two.

    Percentiles, widened for small numbers as Student's t is: T. C. Hesterberg, "What teachers should know about the
    bootstrap", The American Statistician 69 (2015) 371-386, section 5.3. Where all differences are the same, a bootstrap
    sees no spread: then the interval leaves room for the share of items that may have gone unseen (`_unseen`).
    """
    n, mean = len(sums), float(sums.sum() / sizes.sum())
    if n < 2:
        return None
    if np.ptp(sums / sizes) < _NOISE:
        unseen = _unseen(n, alpha)
        return max(-1.0, mean - unseen * (1 + mean)), min(1.0, mean + unseen * (1 - mean))
    tail = _Z.cdf(-sqrt(n / (n - 1)) * float(stats.t.isf(alpha / 2, n - 1)))
    found = stats.bootstrap(
        (sums, sizes),
        lambda of, over, axis: of.sum(axis=axis) / over.sum(axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=max(999, min(RESAMPLES, 200_000_000 // n)),
        batch=max(1, BATCH // n),
        confidence_level=1 - 2 * tail,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return float(found.low), float(found.high)


def _unseen(n: int, alpha: float) -> float:
    """The largest share of items of which n independent ones may well show none (exact binomial, "the rule of three")."""
    return float(-np.expm1(log(alpha / 2) / n)) if n else 1.0


def clustered(differences: Figures, clusters: NDArray[np.int64] | None) -> tuple[Figures, Figures]:
    """The sum of the differences in each cluster, and its size; each difference is its own where there are no clusters."""
    if clusters is None:
        return differences, np.ones_like(differences)
    _, place = np.unique(clusters, return_inverse=True)
    sums: Figures = np.bincount(place, differences).astype(np.float64)
    return sums, np.bincount(place).astype(np.float64)


def _spread(sums: Figures, sizes: Figures) -> float | None:
    """The standard deviation that a single difference would have, were they all independent; None where none was seen."""
    n, total = len(sums), sizes.sum()
    if n < 2:
        return None
    apart = sums - sizes * (sums.sum() / total)
    spread = sqrt(float((apart**2).sum()) * n / (n - 1) / float(total))
    return spread if spread > _NOISE else None


# -- what could have been seen -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Seen:
    """What a comparison showed of the noise."""

    n: int
    discordance: float
    """The share of pairs that differ."""
    spread: float | None
    """Standard deviation of a difference; None: of pass/fail pairs, where the discordance says it."""

    def needed(self, change: float, terms: Terms) -> int | None:
        """Pairs that show a difference of `change` with the terms' power; None where there is nothing to go by."""
        return ceil(self._pairs(change, terms)) if self.n else None

    def detectable(self, terms: Terms) -> float | None:
        """The smallest difference that n pairs show with the terms' power; None where even the largest would not show."""
        if self.n == 0 or self._pairs(1.0, terms) > self.n:
            return None
        return float(brentq(lambda change: self._pairs(change, terms) - self.n, _NOISE / 1e6, 1.0))

    def _pairs(self, change: float, terms: Terms) -> float:
        """Pairs needed to see a difference of so much.

        Of rates: R. J. Connor, "Sample size for testing differences in proportions for the paired-sample design",
        Biometrics 43 (1987) 207-211: 1,175 pairs for 0.02 where 6 % of pairs differ. Of means: the paired z-test.
        """
        surely, mostly = _Z.inv_cdf(1 - terms.alpha / 2), _Z.inv_cdf(terms.power)
        if self.spread is not None:
            return ((surely + mostly) * self.spread / change) ** 2
        differ = max(self.discordance, change)  # no fewer pairs differ than that
        return float(((surely * sqrt(differ) + mostly * sqrt(differ - change**2)) / change) ** 2)

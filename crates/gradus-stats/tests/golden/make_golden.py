"""Writes the golden files of this folder with NumPy, SciPy and statsmodels.

    python make_golden.py            # needs numpy, scipy, statsmodels; some two minutes on one core

README.md states the format.
"""

import itertools
import json
import math
import warnings
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import scipy
import statsmodels
from scipy import integrate, optimize, special, stats
from statsmodels.stats.anova import AnovaRM
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import DescrStatsW

warnings.simplefilter("ignore")
CONFIDENCE = 0.95
MARGIN = 0.5
HERE = Path(__file__).parent


def write(name, cases):
    head = {"numpy": np.__version__, "scipy": scipy.__version__, "statsmodels": statsmodels.__version__}
    lines = ",\n".join(json.dumps(case, allow_nan=False) for case in cases)
    text = json.dumps(head)[:-1] + ', "script": "make_golden.py", "cases": [\n' + lines + "\n]}\n"
    (HERE / name).write_text(text)
    print(name, len(cases), "cases", len(text), "bytes")


# --- data sets -------------------------------------------------------------------------------------------


def data_sets():
    """(name, values, whole): `whole` are whole numbers in proportion to the values, where there are such."""
    rng = np.random.default_rng(20210309)
    sets = []

    def add(name, values, whole=None):
        sets.append((name, [float(v) for v in values], whole))

    for n in (2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 14, 15, 20, 25, 30, 49, 50, 51, 60):
        add(f"normal {n}", rng.normal(0.4, 1.0, n))
    for n in (5, 12, 30):
        add(f"strong effect {n}", rng.normal(2.5, 1.0, n))
        add(f"no effect, centred {n}", rng.normal(0, 1, n))
        add(f"heavy tails {n}", stats.t.rvs(1.5, size=n, random_state=rng))
        add(f"skewed {n}", rng.exponential(1.0, n) - 0.6)
        add(f"two groups {n}", np.where(np.arange(n) % 4 == 0, -40.0, 1.0) + rng.normal(0, 0.5, n))
    for n in (6, 10, 12, 13, 14, 20, 30, 40):
        whole = [int(v) for v in rng.integers(-4, 7, n)]
        if not any(whole):
            whole[0] = 3
        add(f"whole with ties and zeros {n}", whole, whole)
    for n in (8, 12, 16, 30):  # differences of accuracies in per cent: tenths, with rounding in the last bits
        a, b = rng.integers(900, 960, n), rng.integers(905, 965, n)
        whole = [int(v) for v in b - a]
        add(f"tenths {n}", b / 10.0 - a / 10.0, whole)
    whole = [int(v) for v in rng.permutation(np.arange(1, 13)) * rng.choice([-1, 1], 12)]
    add("whole without ties 12", whole, whole)
    add("all positive 7", [1, 2, 3, 4, 5, 6, 7], [1, 2, 3, 4, 5, 6, 7])
    add("mostly zeros 12", [0, 0, 0, 3, 0, 0, 1, 0, 0, 2, 0, 0], [0, 0, 0, 3, 0, 0, 1, 0, 0, 2, 0, 0])
    add("sum of zero 6", [1, -1, 2, -2, 3, -3], [1, -1, 2, -2, 3, -3])
    add("large offset 10", 1e6 + rng.normal(0, 1e-3, 10))
    add("tiny 9", rng.normal(1e-9, 2e-9, 9))
    add("equal 5", [0.25] * 5, [1] * 5)
    add("zeros 4", [0.0] * 4, [0] * 4)
    add("one 1", [0.7])
    return sets


def sign_flip(values, whole):
    """Two-sided p by SciPy where it enumerates; by counting whole numbers otherwise; None where neither can."""
    n = len(values)
    p = None
    if whole is not None:
        counts = {0: 1}
        for w in whole:
            step = {}
            for total, count in counts.items():
                for sign in (-w, w):
                    step[total + sign] = step.get(total + sign, 0) + count
            counts = step
        seen = abs(sum(whole))
        p = float(Fraction(sum(c for total, c in counts.items() if abs(total) >= seen), 2**n))
    if 2 <= n <= 20 and any(values):
        data = (np.array(whole if whole is not None else values, dtype=float),)
        scipys = stats.permutation_test(
            data, lambda x, axis: x.sum(axis=axis), permutation_type="samples", n_resamples=np.inf, batch=4096
        ).pvalue
        assert p is None or abs(p - scipys) <= 1e-12, (values, p, scipys)
        p = float(scipys)
    return p


def exact_wilcoxon(data):
    """Two-sided p of the signed-rank test given the ranks (ties and zeros too), in whole numbers."""
    data = [d for d in data if d != 0]
    ranks = [int(2 * r) for r in stats.rankdata(np.abs(data))]
    counts = {0: 1}
    for rank in ranks:
        step = dict(counts)
        for total, count in counts.items():
            step[total + rank] = step.get(total + rank, 0) + count
        counts = step
    positive = sum(r for r, d in zip(ranks, data) if d > 0)
    end = min(positive, sum(ranks) - positive)
    tail = sum(c for total, c in counts.items() if total <= end)
    return min(1.0, float(Fraction(2 * tail, 2 ** len(data))))


def data_set(name, values, whole):
    x = np.array(values)
    n = len(x)
    case = {"name": name, "values": values}
    case["describe"] = {
        "mean": float(np.mean(x)) if len(set(values)) > 1 else values[0],
        "min": float(x.min()),
        "q1": float(np.quantile(x, 0.25)),
        "median": float(np.median(x)),
        "q3": float(np.quantile(x, 0.75)),
        "max": float(x.max()),
        "deciles": [float(q) for q in np.quantile(x, np.arange(1, 10) / 10)],
    }
    case["sign_flip"] = sign_flip(values, whole)
    spread = n > 1 and len(set(values)) > 1
    if spread:
        case["describe"]["sd"] = float(np.std(x, ddof=1))
        t = stats.ttest_1samp(x, 0.0)
        ci = t.confidence_interval(CONFIDENCE)
        case["t"] = {"t": float(t.statistic), "df": float(t.df), "p": float(t.pvalue), "low": float(ci.low), "high": float(ci.high)}
        null = stats.ttest_1samp(x, 0.3)
        ci = t.confidence_interval(0.99)
        case["t_null"] = {"t": float(null.statistic), "p": float(null.pvalue), "low_99": float(ci.low), "high_99": float(ci.high)}
        d_z = float(np.mean(x) / np.std(x, ddof=1))
        case["effect"] = {"d_z": d_z}
        if n > 2:
            half = (n - 1) / 2
            j = math.exp(special.gammaln(half) - special.gammaln(half - 0.5) - 0.5 * math.log(half))
            case["effect"]["corrected"] = d_z * j
        _, lower, upper = DescrStatsW(x).ttost_mean(-MARGIN, MARGIN)
        case["tost"] = {"margin": MARGIN, "p_lower": float(lower[1]), "p_upper": float(upper[1])}
    if any(values):
        ranked = np.array(whole if whole is not None else values, dtype=float)
        auto = stats.wilcoxon(ranked)
        normal = stats.wilcoxon(ranked, method="asymptotic")
        exact = exact_wilcoxon(ranked)
        plain = 0.0 not in ranked and len(set(np.abs(ranked))) == n
        if plain:
            assert abs(exact - stats.wilcoxon(ranked, method="exact").pvalue) <= 1e-12, name
        case["wilcoxon"] = {
            "statistic": float(auto.statistic),
            "auto": float(auto.pvalue),
            "exact": exact,
            "normal": float(normal.pvalue),
        }
    ci = stats.quantile_test(x, q=float(np.median(x)), p=0.5).confidence_interval(CONFIDENCE)
    case["median_interval"] = None if math.isnan(ci.low) else [float(ci.low), float(ci.high)]
    return case


# --- the bootstrap ---------------------------------------------------------------------------------------


def bootstrap(name, values, confidence):
    """Mean and sd over seeds of both ends of SciPy's BCa interval with 10,000 resamples.

    The values are rounded to multiples of 1/1024, so that sums are exact and resamples that tie with the mean do so for
    SciPy too, which compares without a tolerance.
    """
    values = [round(v * 1024) / 1024 for v in values]
    ends = []
    for seed in range(30):
        result = stats.bootstrap(
            (np.array(values),), np.mean, method="BCa", n_resamples=10_000, confidence_level=confidence, rng=np.random.default_rng(seed)
        )
        ends.append([result.confidence_interval.low, result.confidence_interval.high])
    mean, sd = np.mean(ends, axis=0), np.std(ends, axis=0, ddof=1)
    return {
        "name": name,
        "values": values,
        "confidence": confidence,
        "resamples": 10_000,
        "seeds": len(ends),
        "low": float(mean[0]),
        "low_sd": float(sd[0]),
        "high": float(mean[1]),
        "high_sd": float(sd[1]),
    }


# --- distributions and power -----------------------------------------------------------------------------


def distributions():
    cases = []
    for df, t in itertools.product([1, 2, 3, 7.5, 11, 29, 59, 1000], [0.1, 0.7, 1.96, 3.3, 12.0, 150.0]):
        cases.append({"what": "t two-sided", "df": float(df), "t": t, "value": float(2 * stats.t.sf(t, df))})
    for df, alpha in itertools.product([1, 2, 3, 7.5, 11, 29, 59, 1000], [0.9, 0.32, 0.1, 0.05, 0.01, 1e-4, 1e-8]):
        cases.append({"what": "t critical", "df": float(df), "alpha": alpha, "value": float(stats.t.isf(alpha / 2, df))})
    for p in [1e-300, 1e-50, 1e-10, 1e-4, 0.025, 0.1, 0.3, 0.49, 0.5, 0.6, 0.9, 0.99, 0.999999]:
        cases.append({"what": "normal quantile", "p": p, "value": float(stats.norm.ppf(p))})
    for k, n in [(0, 1), (2, 5), (3, 8), (10, 30), (40, 100), (480, 1000), (49_000, 99_999)]:
        cases.append({"what": "binomial below", "k": k, "n": n, "value": float(stats.binom.cdf(k, n, 0.5))})
    for df, t, delta in itertools.product([1, 2, 5, 11, 29, 59], [-1.0, 0.5, 2.0, 4.0, 12.7], [0.0, 0.5, 2.0, 5.0]):
        cases.append({"what": "noncentral t above", "df": float(df), "t": t, "delta": delta, "value": float(stats.nct.sf(t, df, delta))})
    return cases


def tost_power(n, mean, sd, margin, alpha):
    """P(both tests reject) by quadrature over the spread."""
    df, t, scale = n - 1, stats.t.isf(alpha, n - 1), math.sqrt(n) / sd
    end = margin * scale / t

    def inside(s):
        gap = stats.norm.cdf((margin - mean) * scale - t * s) - stats.norm.cdf((-margin - mean) * scale + t * s)
        return max(gap, 0.0) * 2 * df * s * stats.chi2.pdf(df * s * s, df)

    points = [p for p in (0.5, 1.0, 1.5) if p < end]
    return integrate.quad(inside, 0, min(end, 1 + 10 / math.sqrt(df)), points=points, epsabs=1e-13, epsrel=1e-12, limit=500)[0]


def t_power(n, d_z, alpha):
    """Power of the two-sided t test by quadrature over the spread (SciPy's noncentral t is NaN here and there)."""
    df, t, delta = n - 1, stats.t.isf(alpha / 2, n - 1), d_z * math.sqrt(n)
    found = lambda s: (stats.norm.sf(t * s - delta) + stats.norm.sf(t * s + delta)) * 2 * df * s * stats.chi2.pdf(df * s * s, df)
    end = 1 + 10 / math.sqrt(df)
    points = [p for p in ((delta - 3) / t, delta / t, (delta + 3) / t, 1.0) if 0 < p < end]
    return integrate.quad(found, 0, end, points=points, epsabs=1e-13, epsrel=1e-12, limit=500)[0]


def power():
    cases = []
    model = TTestPower()
    for n, d_z, alpha in itertools.product([2, 3, 5, 6, 12, 30, 60, 200], [0.0, 0.2, 0.5, 0.8, 1.5], [0.05, 0.01, 0.05 / 3]):
        value, statsmodels_value = t_power(n, d_z, alpha), float(model.power(d_z, n, alpha))
        assert math.isnan(statsmodels_value) or abs(value - statsmodels_value) <= 1e-10, (n, d_z, alpha, value, statsmodels_value)
        cases.append({"what": "power", "n": n, "d_z": d_z, "alpha": alpha, "value": value})
    for d_z, alpha, wanted in itertools.product([0.1, 0.25, 0.5, 0.8, 1.2], [0.05, 0.01], [0.8, 0.95]):
        n = float(np.ravel(model.solve_power(d_z, None, alpha, wanted))[0])
        cases.append({"what": "rounds", "d_z": d_z, "alpha": alpha, "power": wanted, "value": math.ceil(n)})
    for n, alpha in itertools.product([3, 6, 12, 30, 100], [0.05, 0.01]):
        effect = float(optimize.brentq(lambda d: t_power(n, d, alpha) - 0.8, 0.01, 50, xtol=1e-13))
        cases.append({"what": "detectable", "n": n, "alpha": alpha, "power": 0.8, "value": effect})
    for n, mean, margin, alpha in itertools.product([4, 8, 12, 30], [0.0, 0.3], [0.8, 1.5], [0.05, 0.025]):
        value = tost_power(n, mean, 1.0, margin, alpha)
        cases.append({"what": "tost", "n": n, "mean": mean, "sd": 1.0, "margin": margin, "alpha": alpha, "value": value})
    return cases


# --- counts, families, times, factors --------------------------------------------------------------------


def counts():
    cases = []
    pairs = [(0, 1), (0, 6), (1, 5), (3, 3), (4, 4), (10, 3), (7, 25), (30, 31), (120, 90), (1000, 1100), (40, 200), (12000, 12345)]
    for b, c in pairs:
        exact = float(stats.binomtest(min(b, c), b + c, 0.5).pvalue)
        assert abs(exact - mcnemar([[0, b], [c, 0]], exact=True).pvalue) <= 1e-10 * exact
        mid = min(1.0, 2 * stats.binom.cdf(min(b, c), b + c, 0.5) - stats.binom.pmf(min(b, c), b + c, 0.5))
        cases.append({"what": "mcnemar", "b": b, "c": c, "p": exact, "mid_p": float(mid)})
    for (k, n), confidence in itertools.product([(0, 10), (1, 10), (5, 10), (10, 10), (23, 1000), (999, 1000), (31, 10000)], [0.9, 0.95, 0.99]):
        ci = stats.binomtest(k, n).proportion_ci(confidence, method="wilson")
        cases.append({"what": "wilson", "k": k, "n": n, "confidence": confidence, "low": float(ci.low), "high": float(ci.high)})
    rng = np.random.default_rng(7)
    families = [rng.uniform(0, 1, m) ** 3 for m in (1, 2, 3, 5, 8, 20, 40)]
    families += [[0.01, 0.02, 0.022, 0.5], [0.04, 0.04, 0.04], [1.0, 0.0, 1.0], [0.03, 0.01, 0.012, 0.2, 0.011]]
    for p in families:
        cases.append({"what": "holm", "p": [float(v) for v in p], "adjusted": [float(v) for v in multipletests(p, method="holm")[1]]})
    for n in (2, 5, 12, 30):
        a = rng.lognormal(1.0, 0.4, n)
        b = a * rng.lognormal(-0.1, 0.1, n)
        test = stats.ttest_rel(np.log(b), np.log(a))
        ci = test.confidence_interval(CONFIDENCE)
        cases.append(
            {
                "what": "ratio",
                "a": [float(v) for v in a],
                "b": [float(v) for v in b],
                "ratio": float(stats.gmean(b) / stats.gmean(a)),
                "low": math.exp(ci.low),
                "high": math.exp(ci.high),
                "p": float(test.pvalue),
            }
        )
    return cases


def factors():
    """F and p of the within-subject analysis of variance of two-level factors: F = t² of the contrast."""
    cases = []
    rng = np.random.default_rng(11)
    for names, n in ((["one", "two"], 8), (["one", "two"], 30), (["one", "two", "three"], 12)):
        combinations = list(itertools.product([0, 1], repeat=len(names)))
        rounds = rng.normal(0, 2, n)
        arms, rows = [], []
        for levels in combinations:
            values = 50 + rounds + levels @ np.array([1.0, 0.4, 0.0])[: len(names)] + 0.8 * levels[0] * levels[1] + rng.normal(0, 1, n)
            arms.append([float(v) for v in values])
            rows += [dict(zip(names, levels), round=r, value=v) for r, v in enumerate(values)]
        table = AnovaRM(pd.DataFrame(rows), "value", "round", within=names).fit().anova_table
        effects = {}
        for label, row in table.iterrows():
            if label.count(":") < 2:
                effects[label] = {"F": float(row["F Value"]), "p": float(row["Pr > F"])}
        cases.append({"factors": names, "arms": arms, "effects": effects})
    return cases


# --- NIST's Statistical Reference Datasets: univariate summary statistics, with the certified values ------

LEW = """-213 -564 -35 -15 141 115 -420 -360 203 -338 -431 194 -220 -513 154 -125 -559 92 -21 -579 -52 99 -543 -175
162 -457 -346 204 -300 -474 164 -107 -572 -8 83 -541 -224 180 -420 -374 201 -236 -531 83 27 -564 -112 131 -507 -254 199
-311 -495 143 -46 -579 -90 136 -472 -338 202 -287 -477 169 -124 -568 17 48 -568 -135 162 -430 -422 172 -74 -577 -13 92
-534 -243 194 -355 -465 156 -81 -578 -64 139 -449 -384 193 -198 -538 110 -44 -577 -6 66 -552 -164 161 -460 -344 205
-281 -504 134 -28 -576 -118 156 -437 -381 200 -220 -540 83 11 -568 -160 172 -414 -408 188 -125 -572 -32 139 -492 -321
205 -262 -504 142 -83 -574 0 48 -571 -106 137 -501 -266 190 -391 -406 194 -186 -553 83 -13 -577 -49 103 -515 -280 201
300 -506 131 -45 -578 -80 138 -462 -361 201 -211 -554 32 74 -533 -235 187 -372 -442 182 -147 -566 25 68 -535 -244 194
-351 -463 174 -125 -570 15 72 -550 -190 172 -424 -385 198 -218 -536 96"""

LOTTERY = """162 671 933 414 788 730 817 33 536 875 670 236 473 167 877 980 316 950 456 92 517 557 956 954 104 178 794
278 147 773 437 435 502 610 582 780 689 562 964 791 28 97 848 281 858 538 660 972 671 613 867 448 738 966 139 636 847
659 754 243 122 455 195 968 793 59 730 361 574 522 97 762 431 158 429 414 22 629 788 999 187 215 810 782 47 34 108 986
25 644 829 630 315 567 919 331 207 412 242 607 668 944 749 168 864 442 533 805 372 63 458 777 416 340 436 140 919 350
510 572 905 900 85 389 473 758 444 169 625 692 140 897 672 288 312 860 724 226 884 508 976 741 476 417 831 15 318 432
241 114 799 955 833 358 935 146 630 830 440 642 356 373 271 715 367 393 190 669 8 861 108 795 269 590 326 866 64 523
862 840 219 382 998 4 628 305 747 247 34 747 729 645 856 974 24 568 24 694 608 480 410 729 947 293 53 930 223 203 677
227 62 455 387 318 562 242 428 968"""

# Of 2.00 and 299: the digits behind the point.
MAVRO = """180 170 180 190 180 170 150 140 150 150 170 180 180 190 190 210 200 160 140 130 130 150 150 160 150 140 130
140 150 140 150 160 150 160 190 200 200 210 220 230 240 250 270 260 260 260 270 260 250 240"""

MICHELSO = """850 740 900 1070 930 850 950 980 980 880 1000 980 930 650 760 810 1000 1000 960 960 960 940 960 940 880
800 850 880 900 840 830 790 810 880 880 830 800 790 760 800 880 880 880 860 720 720 620 860 970 950 880 910 850 870 840
840 850 840 840 840 890 810 810 820 800 770 760 740 750 760 910 920 890 860 880 720 840 850 850 780 890 840 780 810 760
810 790 810 820 850 870 870 810 740 810 940 950 800 810 870"""


def nist():
    whole = lambda text: [int(word) for word in text.split()]
    pattern = lambda first, low, high: [first] + [low, high] * 500
    sets = [
        ("NumAcc1", [10000001.0, 10000003.0, 10000002.0], 10000002, 1),
        ("NumAcc2", pattern(1.2, 1.1, 1.3), 1.2, 0.1),
        ("NumAcc3", pattern(1000000.2, 1000000.1, 1000000.3), 1000000.2, 0.1),
        ("NumAcc4", pattern(10000000.2, 10000000.1, 10000000.3), 10000000.2, 0.1),
        ("Lottery", [float(v) for v in whole(LOTTERY)], 518.958715596330, 291.699727470969),
        ("Lew", [float(v) for v in whole(LEW)], -177.435000000000, 277.332168044316),
        ("Mavro", [float(f"2.00{v:03d}") for v in whole(MAVRO)], 2.00185600000000, 0.000429123454003053),
        ("Michelso", [(299000 + v) / 1000 for v in whole(MICHELSO)], 299.852400000000, 0.0790105478190518),
    ]
    sizes = {"NumAcc1": 3, "NumAcc2": 1001, "NumAcc3": 1001, "NumAcc4": 1001, "Lottery": 218, "Lew": 200, "Mavro": 50, "Michelso": 100}
    cases = []
    for name, values, mean, sd in sets:
        assert len(values) == sizes[name], (name, len(values))
        digits = lambda got, want: 15.0 if got == want else min(15.0, -math.log10(abs(got - want) / want if want > 0 else abs(got - want) / -want))
        numpys = [digits(float(np.mean(values)), mean), digits(float(np.std(values, ddof=1)), sd)]
        cases.append({"name": name, "values": values, "mean": mean, "sd": sd, "numpy_digits": [round(d, 1) for d in numpys]})
    return cases


def main():
    sets = data_sets()
    assert len({name for name, _, _ in sets}) == len(sets)
    write("nist.json", nist())
    write("distributions.json", distributions())
    write("power.json", power())
    write("counts.json", counts())
    write("factors.json", factors())
    write("data_sets.json", [data_set(*case) for case in sets])
    resampled = [
        "normal 6", "normal 8", "normal 12", "normal 30", "normal 60", "strong effect 12", "heavy tails 12", "heavy tails 30",
        "skewed 5", "skewed 12", "skewed 30", "two groups 30", "whole with ties and zeros 12", "tenths 30", "mostly zeros 12", "large offset 10",
    ]  # fmt: skip
    values = {name: values for name, values, _ in sets}
    cases = [bootstrap(name, values[name], CONFIDENCE) for name in resampled]
    cases += [bootstrap(name, values[name], 0.8) for name in ("normal 12", "skewed 30")]
    write("bootstrap.json", cases)


main()

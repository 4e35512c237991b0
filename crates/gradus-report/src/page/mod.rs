//! One HTML page that says everything about a study: no network, readable without scripts, light and dark, on paper too.
//!
//! What a study says about itself (names, titles, its file) is text and stays text: the template escapes it, data for
//! scripts have no `<`, and the page's own policy lets no other script run and nothing be loaded.

mod files;
mod picture;

pub use files::{write_figures, write_page};

use gradus_record::{ArmRecord, Candidate, Drawing, Error as Unread, Filter, Outcome, Parts, Store, StudyRecord};
use minijinja::{AutoEscape, Environment};
use serde_json::{Value, json};

use crate::error::{Error, Kind, Result};
use crate::figures::{ArmConfusions, Band, Chart, Figures, Gallery, MOST_ARMS, Missed, Picture, Rounds, evenly};
use crate::plot::{self, Forest, ForestRow, Plot, Strip, StripRow};
use crate::summary::{Comparison, Summary};
use crate::words;

/// The page's script: the plots' library, then its own. What runs is what this hash is of.
const SCRIPT: &str =
    concat!("/*!\n", include_str!("uPlot.LICENSE"), "\n*/\n", include_str!("uPlot.js"), "\n", include_str!("page.js"));

/// SHA-256 of [`SCRIPT`], for the page's policy. A test says what it should be.
const SCRIPT_HASH: &str = "sha256-t4dchHzySzM6jZ9NFxAsz7Sb++Vr5MFJqS2jxDzRuYw=";

/// Verdicts that stand on the first screen.
const FIRST_VERDICTS: usize = 8;

/// Confusions that are shown unfolded.
const MOST_OPEN: usize = 12;

/// Dots in a plot of single rounds.
const MOST_DOTS: usize = 5_000;

/// Trials that are listed because they did not come to their end, and warnings.
const MOST_LISTED: usize = 200;

/// Rounds whose hashes are listed.
const MOST_HASHES: usize = 1_000;

/// The page of a study.
///
/// # Errors
/// When the store cannot be read.
pub fn page(store: &Store, summary: &Summary) -> Result<String> {
    let study = store.study()?;
    let records: Vec<ArmRecord> = store.arms()?.into_iter().filter(|a| a.active).collect();
    let figures = read(store, &study, &records, summary)?;
    let digits = digits(summary);
    let (ended, ended_more) = ended(store)?;
    let warnings: Vec<_> = summary
        .arms
        .iter()
        .flat_map(|a| a.warnings.iter().map(|(text, rounds)| json!({ "arm": a.name, "text": text, "rounds": rounds })))
        .take(MOST_LISTED)
        .collect();
    let any = |has: fn(&crate::summary::ArmSummary) -> bool| summary.arms.iter().any(has);
    let networks = networks(&records);
    let arms: Vec<_> = summary
        .arms
        .iter()
        .enumerate()
        .map(|(i, s)| {
            let network = networks.iter().position(|(n, _)| n.arms.contains(&s.name));
            json!({ "s": s, "network": network, "colour": plot::colour(i) })
        })
        .collect();
    let mut factors: Vec<&String> = summary.arms.iter().flat_map(|a| a.factors.keys()).collect();
    factors.dedup();
    factors.sort_unstable();
    factors.dedup();
    let network =
        |(n, plot): &(Network, Plot)| json!({ "arms": n.arms, "parameters": n.parameters, "svg": plot.inline() });
    let forest = forest(summary);
    let strip = strip(summary);
    let (first, more) = verdicts(summary);
    let charts: Vec<&Chart> = figures.charts.iter().chain(&figures.steps).collect();
    // What is said of the first curve holds for the others, where nothing else is said.
    let said = charts.first().map(|c| caption(c));
    let chart = |(i, c): (usize, &&Chart)| {
        let caption = Some(caption(c)).filter(|text| i == 0 || Some(text) != said.as_ref());
        json!({ "index": i, "svg": plot::curves(&c.curves(Band::default())).inline(), "caption": caption })
    };
    let mut curves: Vec<Value> = charts.iter().enumerate().map(chart).collect();
    let steps = curves.split_off(figures.charts.len());
    let planes: Vec<_> = figures
        .planes
        .iter()
        .map(|p| json!({ "arm": p.arm, "svgs": p.planes.iter().map(|p| plot::plane(p).inline()).collect::<Vec<_>>() }))
        .collect();
    let confusions = confusions(&figures);
    let points = figures.points.as_ref();
    let hashes = data(summary);
    let title = if summary.title.is_empty() { &summary.study } else { &summary.title };
    let view = json!({
        "s": summary,
        "title": title,
        "design": design(summary),
        "css": format!("{}{}{}", plot::css(), include_str!("uPlot.css"), include_str!("page.css")),
        "script": SCRIPT,
        "script_hash": SCRIPT_HASH,
        "tally": (!more.is_empty()).then(|| tally(summary)),
        "first_verdicts": first,
        "more_verdicts": more,
        "links": links(&figures, summary, !networks.is_empty()),
        "arms": arms,
        "factors": factors,
        "any_stuck": any(|a| !a.stuck.is_empty()),
        "any_diverged": any(|a| a.diverged > 0),
        "any_best": any(|a| a.at_best.is_some()),
        "any_epochs": any(|a| a.epochs.is_some()),
        "any_mcnemar": summary.comparisons.iter().any(|c| c.mcnemar.is_some()),
        "forest": forest.0.map(|f| plot::forest(&f).inline()),
        "forest_note": forest.1,
        "strip": strip.0.map(|s| plot::strip(&s).inline()),
        "strip_note": strip.1,
        "ended": ended,
        "ended_more": ended_more,
        "warnings": warnings,
        "curves_note": curves_note(&figures, summary),
        "charts": curves,
        "steps": steps,
        "networks": networks.iter().map(network).collect::<Vec<_>>(),
        "gallery": figures.gallery.as_ref().map(gallery),
        "confusions": confusions,
        "points": points.map(|p| plot::plane(p).inline()),
        "points_note": points.map(|p| if p.boundary.is_empty() { "The data." } else { "The data, and the true boundary." }),
        "planes": planes,
        "shown_note": shown_note(&figures, summary),
        "tuned": tuned(&records, digits),
        "records": gradus_record::FILE,
        "data": hashes.0,
        "data_note": hashes.1,
        "text": study.text,
        "charts_json": charts_json(&charts)?,
    });
    let broken = |e: minijinja::Error| Error::new(Kind::Records, format_args!("the page cannot be made: {e:#}"));
    environment(digits)
        .render_str(include_str!("page.html"), minijinja::Value::from(minijinja::value::Serde(view)))
        .map_err(broken)
}

/// Reads what is drawn.
fn read(store: &Store, study: &StudyRecord, records: &[ArmRecord], summary: &Summary) -> Result<Figures> {
    let rounds = |(arm, record): (usize, &ArmRecord)| {
        let found = summary.arms.iter().find(|a| a.key == record.key);
        let (values, stuck) = found.map_or((Vec::new(), Vec::new()), |a| (a.values.clone(), a.stuck.clone()));
        Rounds { arm, values, stuck }
    };
    let rounds: Vec<Rounds> = records.iter().enumerate().map(rounds).collect();
    Ok(Figures::read(store, study, records, &rounds)?)
}

/// Escapes everything, and knows how numbers are written.
fn environment(digits: usize) -> Environment<'static> {
    fn number(x: Option<f64>, write: impl Fn(f64) -> String) -> String {
        x.map_or_else(|| "–".to_string(), |x| write(x).replace('-', "−"))
    }
    let mut env = Environment::new();
    env.set_auto_escape_callback(|_| AutoEscape::Html);
    env.add_filter("num", move |x: Option<f64>| number(x, |x| words::fixed(x, digits)));
    env.add_filter("signed", move |x: Option<f64>| number(x, |x| words::signed(x, digits)));
    env.add_filter("short", |x: Option<f64>| number(x, short));
    env.add_filter("spread", |mean: f64, sd: Option<f64>| match sd.filter(|sd| *sd > 0.0) {
        Some(sd) => format!("{0:.2$} ± {1:.2$}", mean, sd, words::decimals(sd)),
        None => short(mean),
    });
    env.add_filter("code", |text: String| minijinja::Value::from_safe_string(code(&text)));
    env.add_filter("count", |x: Option<u64>| x.map_or_else(|| "–".to_string(), words::count));
    env.add_filter("si", |x: u64| si(x as f64));
    env.add_filter("p", |x: Option<f64>| number(x, |p| if p < 0.0001 { "< 0.0001".into() } else { format!("{p:.4}") }));
    env
}

/// A sentence with what stands between backticks as code, and everything else escaped.
fn code(text: &str) -> String {
    let mut html = String::new();
    let parts: Vec<&str> = text.split('`').collect();
    for (i, part) in parts.iter().enumerate() {
        let part = minijinja::HtmlEscape(part);
        let closed = i + 1 < parts.len();
        html += &match i % 2 {
            1 if closed => format!("<code>{part}</code>"),
            1 => format!("`{part}"),
            _ => part.to_string(),
        };
    }
    html
}

/// Three digits that count.
fn short(x: f64) -> String {
    if x.fract() == 0.0 { words::fixed(x, 0) } else { words::fixed(x, three(x)) }
}

/// Decimals that show three digits.
fn three(x: f64) -> usize {
    (2.0 - x.abs().log10().floor()).clamp(0.0, 9.0) as usize
}

/// `1.23 M`.
fn si(x: f64) -> String {
    let (size, unit) =
        [(1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")].into_iter().find(|(s, _)| x >= *s).unwrap_or((1.0, ""));
    if unit.is_empty() { format!("{x:.0}") } else { format!("{:.*}{unit}", three(x / size), x / size) }
}

/// Decimals of the study's metric: two for points, else as many as its spread needs.
fn digits(summary: &Summary) -> usize {
    if summary.unit == "points" {
        return 2;
    }
    let spreads = summary.arms.iter().filter_map(|a| a.value.as_ref()?.sd).filter(|sd| *sd > 0.0);
    spreads
        .fold(None, |least: Option<f64>, sd| Some(least.map_or(sd, |l| l.min(sd))))
        .map_or(4, |sd| words::decimals(sd).clamp(1, 8))
}

/// `4 arms × 30 paired rounds`, and what is measured.
fn design(s: &Summary) -> String {
    let mut text = format!("{} × {}", words::many(s.arms.len(), "arm"), words::many(s.rounds, "paired round"));
    let done: Vec<usize> = s.arms.iter().map(|a| a.rounds + a.diverged).collect();
    if done.iter().any(|n| *n < s.rounds) {
        text += &format!(
            " ({} of {} trials so far)",
            words::count(done.iter().sum::<usize>() as u64),
            words::count((s.rounds * s.arms.len()) as u64)
        );
    }
    text += &format!(" · {}", s.metric);
    if !s.unit.is_empty() {
        text += &format!(" in {}", s.unit);
    }
    text += if s.larger_is_better { ", larger is better" } else { ", smaller is better" };
    if s.arms.len() > 1 {
        text += &format!(" · baseline {}", s.baseline);
    }
    if let Some(margin) = s.margin {
        text += &format!(" · differences up to {margin} do not matter");
    }
    text
}

/// The verdicts that stand at the top, decided ones first where there are many, and the others.
fn verdicts(s: &Summary) -> (Vec<&Comparison>, Vec<&Comparison>) {
    if s.comparisons.len() <= FIRST_VERDICTS {
        return (s.comparisons.iter().collect(), Vec::new());
    }
    let mut all: Vec<&Comparison> = s.comparisons.iter().collect();
    let sign = if s.larger_is_better { -1.0 } else { 1.0 };
    let place = |c: &Comparison| (c.test.verdict != "better", sign * c.test.difference.unwrap_or(f64::INFINITY));
    all.sort_by(|a, b| {
        let ((x, p), (y, q)) = (place(a), place(b));
        x.cmp(&y).then(p.total_cmp(&q))
    });
    let more = all.split_off(FIRST_VERDICTS);
    (all, more)
}

/// `3 better, 1 worse, 40 undecided`, and that the best come first.
fn tally(s: &Summary) -> String {
    let mut counts: indexmap::IndexMap<&str, usize> = indexmap::IndexMap::new();
    for word in ["better", "worse", "equivalent", "identical", "undecided", "untested"] {
        let n = s.comparisons.iter().filter(|c| c.test.verdict == word).count();
        if n > 0 {
            counts.insert(word, n);
        }
    }
    let parts: Vec<String> = counts.iter().map(|(word, n)| format!("{n} {word}")).collect();
    format!("Of {} arms against {}: {}. The best first.", s.comparisons.len(), s.baseline, words::list(&parts))
}

/// The sections that there are.
fn links(f: &Figures, s: &Summary, networks: bool) -> Vec<(&'static str, &'static str)> {
    let rounds = s.arms.iter().any(|a| !a.values.is_empty());
    [
        ("arms", "Arms", true),
        ("differences", "Differences", !s.comparisons.is_empty()),
        ("rounds", "Every round", rounds),
        ("curves", "Learning curves", !f.charts.is_empty()),
        ("networks", "Networks", networks),
        ("samples", "Samples", f.gallery.is_some()),
        ("confusions", "Confusions", !f.confusions.is_empty()),
        ("plane", "The plane", f.points.is_some() || !f.planes.is_empty()),
        ("protocol", "Protocol", true),
    ]
    .into_iter()
    .filter_map(|(id, name, there)| there.then_some((id, name)))
    .collect()
}

/// Of `n` rounds in each of `rows` rows, those that are drawn, and a sentence where it is not all.
fn dots<T: Copy>(rows: usize, all: &[T]) -> Vec<T> {
    let most = (MOST_DOTS / rows.max(1)).max(10);
    evenly(all.len(), most).into_iter().map(|i| all[i]).collect()
}

fn dots_note(rows: usize, most: usize) -> String {
    let drawn = (MOST_DOTS / rows.max(1)).max(10);
    if most > drawn {
        format!(" Of each arm {drawn} of up to {most} rounds are drawn, evenly chosen.")
    } else {
        String::new()
    }
}

/// The paired differences as a plot takes them; `None` where there are none.
fn forest(s: &Summary) -> (Option<Forest>, String) {
    let rows: Vec<ForestRow> = s
        .comparisons
        .iter()
        .filter_map(|c| {
            let differences: Vec<f64> = c.differences.iter().map(|(_, d)| *d).collect();
            Some(ForestRow {
                name: c.arm.clone(),
                verdict: c.test.verdict.to_string(),
                mean: c.test.difference?,
                interval: c.test.low.zip(c.test.high),
                differences: dots(s.comparisons.len(), &differences),
                colour: s.arms.iter().position(|a| a.name == c.arm).unwrap_or(0),
            })
        })
        .collect();
    let most = s.comparisons.iter().map(|c| c.differences.len()).max().unwrap_or(0);
    let forest = Forest {
        metric: s.metric.clone(),
        unit: s.unit.to_string(),
        baseline: s.baseline.clone(),
        margin: s.margin,
        larger_is_better: s.larger_is_better,
        rows,
    };
    ((!forest.rows.is_empty()).then_some(forest), dots_note(s.comparisons.len(), most))
}

/// Every round as a plot takes it; stuck rounds are among those drawn, however many there are.
fn strip(s: &Summary) -> (Option<Strip>, String) {
    let row = |(colour, a): (usize, &crate::summary::ArmSummary)| {
        let mut values = dots(s.arms.len(), &a.values);
        let stuck = a.values.iter().filter(|(round, _)| a.stuck.contains(round));
        for value in stuck.take(MOST_DOTS / s.arms.len().max(1)) {
            if !values.contains(value) {
                values.push(*value);
            }
        }
        let mean = a.value.as_ref()?;
        let interval = mean.low.zip(mean.high);
        Some(StripRow { name: a.name.clone(), colour, values, stuck: a.stuck.clone(), mean: mean.mean, interval })
    };
    let rows: Vec<StripRow> = s.arms.iter().enumerate().filter_map(row).collect();
    let most = s.arms.iter().map(|a| a.values.len()).max().unwrap_or(0);
    let unit = if s.unit.is_empty() { String::new() } else { format!(" ({})", s.unit) };
    let strip = Strip { x_label: format!("{}{unit}", s.metric), rows };
    ((!strip.rows.is_empty()).then_some(strip), dots_note(s.arms.len(), most))
}

/// Trials that did not come to their end, the first of them, and how many more there are.
fn ended(store: &Store) -> Result<(Vec<Value>, usize)> {
    let (mut list, mut more) = (Vec::new(), 0);
    store.each_trial(&Filter::default(), Parts::default(), |t| {
        let (how, cause) = match &t.outcome {
            Outcome::Done => return Ok::<_, Unread>(()),
            Outcome::Diverged { epoch, cause } => (format!("diverged in epoch {epoch}"), cause),
            Outcome::Failed { cause } => ("failed, will be run again".to_string(), cause),
        };
        if list.len() < MOST_LISTED {
            list.push(json!({ "arm": t.arm, "round": t.round, "how": how, "cause": cause }));
        } else {
            more += 1;
        }
        Ok(())
    })?;
    Ok((list, more))
}

/// A network and the arms that have it.
struct Network {
    arms: Vec<String>,
    parameters: u64,
    drawing: Drawing,
}

/// The networks of a study, each once, with its drawing.
fn networks(records: &[ArmRecord]) -> Vec<(Network, Plot)> {
    let mut list: Vec<Network> = Vec::new();
    for arm in records.iter().filter(|a| !a.drawing.branches.is_empty()) {
        match list.iter_mut().find(|n| n.drawing == arm.drawing) {
            Some(network) => network.arms.push(arm.name.clone()),
            None => list.push(Network {
                arms: vec![arm.name.clone()],
                parameters: arm.parameters,
                drawing: arm.drawing.clone(),
            }),
        }
    }
    let draw = |n: Network| {
        let plot = plot::architecture(&n.drawing);
        (n, plot)
    };
    list.into_iter().map(draw).collect()
}

fn caption(chart: &Chart) -> String {
    let rounds = chart.lines.iter().map(|l| l.of).max().unwrap_or(0);
    let thin = chart.lines.iter().map(|l| l.rounds.len()).max().unwrap_or(0);
    let mut text = if rounds > 1 { "Mean and one standard deviation".to_string() } else { "One round".to_string() };
    if rounds > 1 {
        text += &match thin < rounds {
            true => format!("; thin lines: {thin} of {rounds} rounds, evenly chosen"),
            false => "; thin lines: every round".to_string(),
        };
    }
    if chart.thinned {
        text += &format!("; {}s are thinned", chart.x_label);
    }
    text + "."
}

/// Confusions in one grid, or folded by arm where they are many.
fn confusions(figures: &Figures) -> Vec<Value> {
    let draw = |c: &ArmConfusions| -> Vec<String> { c.of.values().map(|c| plot::confusion(c).inline()).collect() };
    let all = &figures.confusions;
    match all.iter().map(|c| c.of.len()).sum() {
        0 => Vec::new(),
        1..=MOST_OPEN => vec![json!({ "arm": null, "svgs": all.iter().flat_map(draw).collect::<Vec<_>>() })],
        _ => all.iter().map(|c| json!({ "arm": c.arm, "svgs": draw(c) })).collect(),
    }
}

fn curves_note(f: &Figures, s: &Summary) -> String {
    let mut text = "The band is one standard deviation of the rounds to each side; where scripts run it can be the 95 % interval of the mean. ".to_string();
    text += "The mean is over the rounds that were still training; rounds that diverged are left out.";
    text + &shown_note(f, s)
}

fn shown_note(f: &Figures, s: &Summary) -> String {
    if f.shown.len() == s.arms.len() {
        return String::new();
    }
    format!(
        " {} of {} arms are shown: the baseline, the best and the worst.",
        MOST_ARMS.min(f.shown.len()),
        s.arms.len()
    )
}

/// Hashes of the data, the first of them where there are many, with what they are.
fn data(s: &Summary) -> (Vec<&(usize, String)>, String) {
    let all = &s.reproduction.data;
    let note = match all.len() > MOST_HASHES {
        true => format!("The data of the first {MOST_HASHES} of {} rounds", words::count(all.len() as u64)),
        false => "The data that all arms of a round share".to_string(),
    };
    (all.iter().take(MOST_HASHES).collect(), note)
}

/// How values were chosen for arms: every candidate with its score.
fn tuned(records: &[ArmRecord], digits: usize) -> Vec<Value> {
    let table = |arm: &ArmRecord| {
        let tuned = arm.tuned.as_ref()?;
        let mut keys: Vec<&String> = tuned.candidates.iter().flat_map(|c| c.values.keys()).collect();
        keys.sort_unstable();
        keys.dedup();
        let row = |(i, c): (usize, &Candidate)| {
            let values: Vec<&str> = keys.iter().map(|k| c.values.get(*k).map_or("", String::as_str)).collect();
            let score = if c.mean.is_finite() { words::fixed(c.mean, digits) } else { "diverged".into() };
            json!({ "values": values, "score": score, "chosen": i == tuned.chosen })
        };
        let rows: Vec<Value> = tuned.candidates.iter().enumerate().take(MOST_LISTED).map(row).collect();
        let mut caption = format!(
            "How {} was tuned: mean {} over {} with {} each, which are not used again",
            arm.name,
            tuned.metric,
            words::many(tuned.rounds, "tuning round"),
            words::many(tuned.validation, "validation sample"),
        );
        if !tuned.edges.is_empty() {
            caption += &format!(
                "; the chosen value of {} lies at the edge of what was offered, and a better one may lie beyond",
                words::list(&tuned.edges)
            );
        }
        Some(json!({ "arm": arm.name, "keys": keys, "metric": tuned.metric, "rows": rows, "caption": caption }))
    };
    records.iter().filter_map(table).collect()
}

fn gallery(g: &Gallery) -> Value {
    let view = |p: &Picture| {
        // Small images are enlarged by a whole factor.
        let scale = (64 / p.width.max(p.height).max(1)).max(1);
        let truth: Vec<String> =
            p.truth.iter().filter(|(t, _)| **t != g.target).map(|(_, class)| class.clone()).collect();
        let images: Vec<String> = p.images.iter().map(|i| picture::data_uri(p.width, p.height, p.colour, i)).collect();
        let label = format!("sample {}{}{}", p.id, if truth.is_empty() { "" } else { ": " }, truth.join(", "));
        json!({ "images": images, "width": p.width * scale, "height": p.height * scale, "below": truth.join(" · "), "label": label })
    };
    let missed = |m: &Missed| {
        let said: Vec<Value> = m
            .said
            .iter()
            .map(|s| {
                let others: Vec<String> = s.others.iter().map(|(loss, class)| format!("{loss} {class}")).collect();
                json!({ "arm": s.arm, "class": s.class, "right": s.right, "others": others.join(", ") })
            })
            .collect();
        let truth = m.picture.truth.get(&g.target);
        json!({ "picture": view(&m.picture), "truth": truth, "missed": m.missed, "of": m.said.len(), "said": said })
    };
    let group = |g: &crate::figures::Group| json!({ "class": g.class, "pictures": g.pictures.iter().map(view).collect::<Vec<_>>() });
    json!({ "round": g.round, 
"target": g.target, 
"groups": g.groups.iter().map(group).collect::<Vec<_>>(), 
"missed": g.missed.iter().map(missed).collect::<Vec<_>>() })
}

/// The curves for the script, five digits each, as JSON that can stand in a script element.
fn charts_json(charts: &[&Chart]) -> Result<String> {
    let numbers = |list: &[f64]| -> Vec<Option<f64>> {
        list.iter().map(|x| x.is_finite().then(|| format!("{x:.4e}").parse().unwrap_or(*x))).collect()
    };
    let line = |l: &crate::figures::ChartLine| {
        json!({
            "name": l.name,
            "colour": l.colour % plot::COLOURS,
            "x": l.x,
            "mean": numbers(&l.mean),
            "sd": numbers(&l.sd),
            "half": numbers(&l.half),
            "rounds": l.rounds.iter().map(|(_, values)| numbers(values)).collect::<Vec<_>>(),
        })
    };
    let chart = |c: &&Chart| {
        json!({
            "title": c.title, "x_label": c.x_label, "y_label": c.y_label, "log": c.log_y,
            "lines": c.lines.iter().map(line).collect::<Vec<_>>(),
        })
    };
    let text = serde_json::to_string(&charts.iter().map(chart).collect::<Vec<_>>());
    let text = text.map_err(|e| Error::new(Kind::Records, format_args!("the curves cannot be written: {e}")))?;
    // `</script>` or `<!--` in a name would end or change the element.
    Ok(text.replace('<', "\\u003c").replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backticks_are_code_and_nothing_else_is_markup() {
        assert_eq!(code("use `--threads 1` or `<b>`"), "use <code>--threads 1</code> or <code>&lt;b&gt;</code>");
        assert_eq!(code("a ` b & c"), "a ` b &amp; c");
        assert_eq!(code("``"), "<code></code>");
    }

    #[test]
    fn numbers_have_three_digits() {
        assert_eq!([short(0.0), short(8.0), short(1234.7), short(0.012345)], ["0", "8", "1235", "0.0123"]);
        assert_eq!([si(12.0), si(523_512.0), si(1_490_000.0)], ["12", "524 k", "1.49 M"]);
    }
}

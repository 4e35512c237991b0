//! Every kind of plot with made-up numbers, to look at: `cargo run -p gradus-report --example plots -- FOLDER [STUDY…]`
//! writes a page, and each plot as SVG, PNG and PDF; of the folders of studies given, the networks are drawn too.

use std::error::Error;
use std::path::Path;

use gradus_record::{Grid, PointSet, Store};
use gradus_report::plot::{self, *};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let out = args.next().ok_or("where to?")?;
    let mut plots = vec![
        ("forest", plot::forest(&differences())),
        ("forest-many", plot::forest(&many_differences())),
        ("forest-loss", plot::forest(&Forest { larger_is_better: false, metric: "test loss".into(), ..differences() })),
        ("forest-none", plot::forest(&Forest::default())),
        ("curves", plot::curves(&learning(3, 40, false))),
        ("curves-log", plot::curves(&learning(3, 40, true))),
        ("curves-many", plot::curves(&learning(20, 125, false))),
        ("curves-one", plot::curves(&learning(3, 1, false))),
        ("curves-steps", plot::curves(&steps())),
        ("strip", plot::strip(&rounds(4, 30))),
        ("strip-many", plot::strip(&rounds(12, 100))),
        ("plane", plot::plane(&disk(1000, false))),
        ("plane-share", plot::plane(&disk(300, true))),
    ];
    for (name, n) in [("confusion-2", 2), ("confusion-10", 10), ("confusion-50", 50)] {
        plots.push((name, plot::confusion(&mistakes(n))));
    }
    let mut networks = Vec::new();
    for dir in args {
        for arm in Store::open_read(Path::new(&dir))?.arms()? {
            networks.push((format!("net-{}", arm.name), plot::architecture(&arm.drawing)));
        }
    }
    let plots: Vec<(&str, Plot)> =
        plots.into_iter().chain(networks.iter().map(|(n, p)| (n.as_str(), p.clone()))).collect();

    std::fs::create_dir_all(&out)?;
    let mut page = format!(
        "<!doctype html><meta charset=utf-8><meta name=viewport content='width=device-width'><title>Plots</title>\n\
         <style>{}body{{background:var(--plot-page);color:var(--plot-text);font-family:sans-serif;max-width:900px;\
         margin:1rem auto;padding:0 1rem}}</style>",
        plot::css()
    );
    for (name, plot) in plots {
        page += &format!("<h2>{name}</h2>{}", plot.inline());
        let file = |end: &str| Path::new(&out).join(format!("{name}.{end}"));
        std::fs::write(file("svg"), plot.svg())?;
        std::fs::write(file("png"), plot.png(2.0))?;
        std::fs::write(file("pdf"), plot.pdf())?;
    }
    Ok(std::fs::write(Path::new(&out).join("index.html"), page)?)
}

/// About normal, from a counter.
fn noise(n: usize) -> f64 {
    let mut state = n as u64;
    let mut next = || {
        state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9).wrapping_add(0x9e37_79b9_7f4a_7c15);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    (0..6).map(|_| next() - 0.5).sum::<f64>() * 1.4
}

fn row(name: &str, colour: usize, mean: f64, verdict: &str) -> ForestRow {
    let differences: Vec<f64> = (0..30).map(|i| mean + noise(100 * colour + i)).collect();
    let mean = differences.iter().sum::<f64>() / 30.0;
    ForestRow {
        name: name.into(),
        verdict: verdict.into(),
        mean,
        interval: Some((mean - 0.4, mean + 0.37)),
        differences,
        colour,
    }
}

fn differences() -> Forest {
    let mut stuck = row("net3", 3, -0.2, "undecided");
    stuck.differences[4] = -38.0;
    stuck.differences[9] = -35.5;
    (stuck.mean, stuck.interval) = (-2.6, Some((-7.5, 0.2)));
    let same =
        ForestRow { interval: None, mean: 0.0, differences: vec![0.0; 30], ..row("copy of net1", 4, 0.0, "identical") };
    let one = ForestRow { interval: None, differences: vec![0.8], mean: 0.8, ..row("tried once", 5, 0.8, "undecided") };
    Forest {
        metric: "test accuracy".into(),
        unit: "points".into(),
        baseline: "net1".into(),
        margin: Some(0.5),
        larger_is_better: true,
        rows: vec![
            row("net2", 1, 1.53, "better"),
            row("net2_digits_with_a_very_long_name_lr_0.01", 2, 0.1, "equivalent"),
            stuck,
            same,
            one,
            row("wide", 6, -1.4, "worse"),
        ],
    }
}

fn many_differences() -> Forest {
    let rows =
        (0..30).map(|i| row(&format!("depth={} width={}", i / 5, 16 << (i % 5)), i, noise(i) * 2.0, "undecided"));
    Forest { rows: rows.collect(), ..differences() }
}

fn learning(lines: usize, epochs: usize, log_y: bool) -> Curves {
    let line = |i: usize| {
        let (arm, dashed) = (i / 2, i % 2 == 1);
        let x: Vec<f64> = (1..=epochs).map(|e| e as f64).collect();
        let rounds: Vec<Vec<f64>> = (0..10)
            .map(|r| {
                let rate = 0.04 * (arm + 1) as f64;
                let end = if dashed { 0.001 } else { 0.2 + 0.03 * arm as f64 };
                x.iter()
                    .enumerate()
                    .map(|(e, t)| end + 2.0 * (-rate * t).exp() * (1.0 + 0.1 * noise(1000 * i + 40 * r + e)).abs())
                    .collect()
            })
            .collect();
        let at = |e: usize| rounds.iter().map(move |r: &Vec<f64>| r[e]);
        let mean: Vec<f64> = (0..epochs).map(|e| at(e).sum::<f64>() / 10.0).collect();
        let edge = |sign: f64| mean.iter().map(|m| m + sign * 0.12 * m).collect();
        let band = Some((edge(-1.0), edge(1.0)));
        let name = format!("net{} {}", arm + 1, if dashed { "training" } else { "validation" });
        Line { name, colour: arm, dashed, x, mean, band, rounds }
    };
    Curves {
        title: "Learning curves".into(),
        x_label: "epoch".into(),
        y_label: "loss".into(),
        log_y,
        lines: (0..2 * lines).map(line).collect(),
    }
}

fn steps() -> Curves {
    let n = 100_000;
    let x: Vec<f64> = (0..n).map(|i| i as f64).collect();
    let mut mean: Vec<f64> = x.iter().enumerate().map(|(i, t)| 1.0 / (1.0 + t / 3000.0) + 0.05 * noise(i)).collect();
    mean[61_803] = 3.0;
    mean[40_000..45_000].fill(f64::NAN);
    let line = Line { name: "net1".into(), x, mean, ..Line::default() };
    Curves {
        title: "Loss per step".into(),
        x_label: "step".into(),
        y_label: "loss".into(),
        log_y: false,
        lines: vec![line],
    }
}

fn rounds(arms: usize, n: usize) -> Strip {
    let row = |arm: usize| {
        let stuck = if arm == 1 { vec![3, 7, 20] } else { vec![] };
        let value =
            |r: usize| if stuck.contains(&r) { 50.4 + noise(r) } else { 92.0 + arm as f64 + noise(50 * arm + r) };
        let values: Vec<(usize, f64)> = (0..n).map(|r| (r, if arm == 2 { 97.0 } else { value(r) })).collect();
        let mean = values.iter().map(|v| v.1).sum::<f64>() / n as f64;
        StripRow {
            name: format!("net{}", arm + 1),
            colour: arm,
            values,
            stuck,
            mean,
            interval: Some((mean - 0.5, mean + 0.5)),
        }
    };
    Strip { x_label: "test accuracy (%)".into(), rows: (0..arms).map(row).collect() }
}

fn mistakes(n: usize) -> Confusion {
    let counts = (0..n)
        .map(|i| (0..n).map(|j| if i == j { 970 } else { (noise(n * i + j) * 6.0).max(0.0) as u64 }).collect())
        .collect();
    let classes = match n {
        2 => vec!["first is larger".into(), "second is larger or equal".into()],
        _ => (0..n).map(|i| if n > 10 { format!("class number {i}") } else { i.to_string() }).collect(),
    };
    Confusion { title: "net1: test".into(), classes, counts }
}

fn disk(n: usize, share: bool) -> Plane {
    let place = |i: usize| {
        (noise(2 * i).mul_add(0.35, 0.5).clamp(0.0, 1.0), noise(2 * i + 1).mul_add(0.35, 0.5).clamp(0.0, 1.0))
    };
    let inside = |(x, y): (f64, f64)| (x - 0.5).hypot(y - 0.5) < 0.4;
    let points = PointSet {
        x: (0..n).map(|i| place(i).0 as f32).collect(),
        y: (0..n).map(|i| place(i).1 as f32).collect(),
        labels: (0..n).map(|i| u32::from(inside(place(i)))).collect(),
    };
    let side = 100;
    let field = (0..side * side)
        .map(|i| {
            let (x, y) = ((i % side) as f64 / 99.0, (i / side) as f64 / 99.0);
            let v = 0.41 + 0.03 * (9.0 * (y - 0.5).atan2(x - 0.5)).sin() - (x - 0.5).hypot(y - 0.48);
            (if share { (v * 6.0).clamp(-0.5, 0.5) } else { v * 20.0 }) as f32
        })
        .collect();
    let turn = |i: u32| std::f64::consts::TAU * f64::from(i) / 120.0;
    Plane {
        title: if share { "net1: all rounds".into() } else { "net1: round 0".into() },
        points: Some(points),
        classes: vec!["outside".into(), "inside".into()],
        boundary: vec![(0..=120).map(|i| (0.5 + 0.4 * turn(i).cos(), 0.5 + 0.4 * turn(i).sin())).collect()],
        field: Some(Grid { width: side, height: side, x: [0.0, 1.0], y: [0.0, 1.0], values: field }),
        share,
    }
}

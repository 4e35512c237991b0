//! Plots of anything: whatever the numbers and names are, a plot is drawn, its files can be read, and nothing is hidden.

use gradus_record::{Drawing, DrawnBranch, DrawnLayer, DrawnLoss, Grid, PointSet, Port};
use gradus_report::plot::{self, *};
use roxmltree::Document;

/// Bad luck, from a counter.
struct Luck(u64);

impl Luck {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn yes(&mut self) -> bool {
        self.below(2) == 0
    }

    fn number(&mut self) -> f64 {
        const ODD: [f64; 14] = [
            0.0,
            -0.0,
            1.0,
            -1.0,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            1e308,
            -1e308,
            5e-324,
            -1e-310,
            1e17,
            0.1 + 0.2,
            f64::EPSILON,
        ];
        match self.below(3) {
            0 => ODD[self.below(ODD.len())],
            1 => self.below(100) as f64,
            _ => self.next() as f64 / u64::MAX as f64 * 2.0 - 1.0,
        }
    }

    fn numbers(&mut self, most: usize) -> Vec<f64> {
        let n = self.below(most + 1);
        if self.below(4) == 0 {
            let same = self.number();
            return vec![same; n];
        }
        (0..n).map(|_| self.number()).collect()
    }

    fn pair(&mut self) -> Option<(f64, f64)> {
        self.yes().then(|| (self.number(), self.number()))
    }

    fn name(&mut self) -> String {
        const ODD: [&str; 9] =
            ["", "net1", "<svg onload=\"x\">&'", "😀 naïve μ→∞", "]]>", "\u{0}\u{b}\n\t", "a:b[0]", "\u{202e}rtl", "–"];
        match self.below(10) {
            0 => "long name ".repeat(60),
            _ => ODD[self.below(ODD.len())].to_string(),
        }
    }

    fn names(&mut self, most: usize) -> Vec<String> {
        (0..self.below(most + 1)).map(|_| self.name()).collect()
    }

    fn forest(&mut self, rows: usize) -> Forest {
        let row = |l: &mut Luck| ForestRow {
            name: l.name(),
            verdict: l.name(),
            mean: l.number(),
            interval: l.pair(),
            differences: l.numbers(20),
            colour: l.below(40),
        };
        Forest {
            metric: self.name(),
            unit: self.name(),
            baseline: self.name(),
            margin: self.yes().then(|| self.number()),
            larger_is_better: self.yes(),
            rows: (0..rows).map(|_| row(self)).collect(),
        }
    }

    fn curves(&mut self, lines: usize) -> Curves {
        let line = |l: &mut Luck| Line {
            name: l.name(),
            colour: l.below(40),
            dashed: l.yes(),
            x: l.numbers(30),
            mean: l.numbers(30),
            band: l.yes().then(|| (l.numbers(30), l.numbers(30))),
            rounds: (0..l.below(4)).map(|_| l.numbers(30)).collect(),
        };
        Curves {
            title: self.name(),
            x_label: self.name(),
            y_label: self.name(),
            log_y: self.yes(),
            lines: (0..lines).map(|_| line(self)).collect(),
        }
    }

    fn strip(&mut self, rows: usize) -> Strip {
        let row = |l: &mut Luck| StripRow {
            name: l.name(),
            colour: l.below(40),
            values: l.numbers(30).into_iter().enumerate().collect(),
            stuck: (0..l.below(30)).map(|_| l.below(40)).collect(),
            mean: l.number(),
            interval: l.pair(),
        };
        Strip { x_label: self.name(), rows: (0..rows).map(|_| row(self)).collect() }
    }

    fn confusion(&mut self) -> Confusion {
        let count = |l: &mut Luck| [0, 1, 7, 1000, u64::MAX][l.below(5)];
        let row = |l: &mut Luck| (0..l.below(60)).map(|_| count(l)).collect();
        Confusion {
            title: self.name(),
            classes: self.names(40),
            counts: (0..self.below(50)).map(|_| row(self)).collect(),
        }
    }

    fn plane(&mut self) -> Plane {
        let f32s = |l: &mut Luck, n| (0..n).map(|_| l.number() as f32).collect::<Vec<_>>();
        let (w, h) = (self.below(12), self.below(12));
        let n = w * h + usize::from(self.below(9) == 0);
        let points = PointSet {
            x: f32s(self, 20),
            y: f32s(self, 19),
            labels: (0..self.below(30)).map(|_| self.next() as u32 >> self.below(32)).collect(),
        };
        let x = [self.number(), self.number()];
        let grid = Grid { width: w, height: h, x, y: [0.0, 1.0], values: f32s(self, n) };
        Plane {
            title: self.name(),
            points: self.yes().then_some(points),
            classes: self.names(3),
            boundary: (0..self.below(3)).map(|_| (0..9).map(|_| (self.number(), self.number())).collect()).collect(),
            field: self.yes().then_some(grid),
            share: self.yes(),
        }
    }

    fn drawing(&mut self, branches: usize) -> Drawing {
        let layer = |l: &mut Luck| DrawnLayer {
            path: l.name(),
            text: l.name(),
            output: (0..l.below(4)).map(|_| l.below(1000)).collect(),
            parameters: l.next() >> l.below(64),
        };
        let branch = |l: &mut Luck| DrawnBranch {
            name: l.name(),
            from: l.names(4),
            join: l.name(),
            shares: l.yes().then(|| l.name()),
            layers: (0..l.below(90)).map(|_| layer(l)).collect(),
        };
        let loss = |l: &mut Luck| DrawnLoss {
            name: l.name(),
            of: l.name(),
            target: l.yes().then(|| l.name()),
            kind: l.name(),
            weight: l.number(),
        };
        let port = |l: &mut Luck| Port { name: l.name(), shape: vec![l.below(99)] };
        Drawing {
            inputs: (0..self.below(3)).map(|_| port(self)).collect(),
            branches: (0..branches).map(|_| branch(self)).collect(),
            losses: (0..self.below(3)).map(|_| loss(self)).collect(),
            outputs: (0..self.below(3)).map(|_| port(self)).collect(),
        }
    }
}

/// Reads what a plot writes; panics where it cannot be read, or a place is no number.
fn check(plot: &Plot, what: &str) {
    let (inline, svg) = (plot.inline(), plot.svg());
    for text in [&inline, &svg] {
        let document = Document::parse(text).unwrap_or_else(|e| panic!("{what}: {e}\n{text}"));
        for node in document.descendants().filter(|n| n.tag_name().name() != "title") {
            for a in node.attributes().filter(|a| a.name() != "aria-label") {
                let odd = ["NaN", "inf", "e+", "E+"].iter().any(|n| a.value().contains(n));
                assert!(!odd, "{what}: {} = {}", a.name(), a.value());
            }
        }
        assert!(text.len() < 6_000_000, "{what}: {} bytes", text.len());
    }
    assert!(inline.starts_with("<div class=\"plot\">") && inline.contains("role=\"img\""), "{what}");
    assert!(!inline.contains(" id="), "{what}: two plots in one page could have the same");
    assert!(inline.contains("var(--plot-") && !svg.contains("var(--"), "{what}");
}

fn files(plot: &Plot, what: &str) {
    let (png, pdf) = (plot.png(0.2), plot.pdf());
    assert!(png.starts_with(b"\x89PNG") && png.len() < 4_000_000, "{what}: {}", png.len());
    assert!(pdf.starts_with(b"%PDF-") && pdf.trim_ascii_end().ends_with(b"%%EOF"), "{what}");
    assert!(pdf.len() < 4_000_000, "{what}: {}", pdf.len());
}

#[test]
fn anything_can_be_drawn() {
    for seed in 0..100 {
        let draw = |l: &mut Luck| {
            let n = l.below(7);
            [
                ("forest", plot::forest(&l.forest(n))),
                ("curves", plot::curves(&l.curves(n))),
                ("strip", plot::strip(&l.strip(n))),
                ("confusion", plot::confusion(&l.confusion())),
                ("plane", plot::plane(&l.plane())),
                ("architecture", plot::architecture(&l.drawing(n))),
            ]
        };
        let (first, again) = (draw(&mut Luck(seed)), draw(&mut Luck(seed)));
        for ((kind, plot), (_, again)) in first.iter().zip(&again) {
            let what = format!("{kind} {seed}");
            check(plot, &what);
            assert_eq!(plot.inline(), again.inline(), "{what}");
            if seed % 10 == 0 {
                files(plot, &what);
                assert!(plot.png(0.2) == again.png(0.2) && plot.pdf() == again.pdf(), "{what}");
            }
        }
    }
}

#[test]
fn a_thousand_of_anything_can_be_drawn() {
    let luck = &mut Luck(1);
    for (what, plot) in [
        ("forest", plot::forest(&luck.forest(1000))),
        ("curves", plot::curves(&luck.curves(1000))),
        ("strip", plot::strip(&luck.strip(1000))),
        ("architecture", plot::architecture(&luck.drawing(1000))),
    ] {
        check(&plot, what);
        files(&plot, what);
    }
}

#[test]
fn a_plot_of_nothing_says_so() {
    for plot in [
        plot::forest(&Forest::default()),
        plot::curves(&Curves::default()),
        plot::strip(&Strip::default()),
        plot::confusion(&Confusion::default()),
        plot::plane(&Plane::default()),
        plot::architecture(&Drawing::default()),
    ] {
        check(&plot, plot.title());
        assert!(plot.svg().contains(">nothing to show<"), "{}", plot.title());
    }
}

/// The texts of a file, in the order they are written.
fn texts(svg: &str) -> Vec<String> {
    let document = Document::parse(svg).unwrap();
    let texts = document.descendants().filter(|n| n.has_tag_name(("http://www.w3.org/2000/svg", "text")));
    texts.map(|t| t.text().unwrap_or_default().to_string()).collect()
}

/// The shapes of a file that say this when pointed at.
fn pointed(svg: &str, title: &str) -> usize {
    let document = Document::parse(svg).unwrap();
    document.descendants().filter(|n| n.tag_name().name() == "title" && n.text() == Some(title)).count()
}

#[test]
fn a_forest_says_what_it_shows() {
    let row = |name: &str, verdict: &str, mean, interval, differences: &[f64]| ForestRow {
        name: name.into(),
        verdict: verdict.into(),
        mean,
        interval,
        differences: differences.to_vec(),
        colour: 1,
    };
    let forest = Forest {
        metric: "test accuracy".into(),
        unit: "points".into(),
        baseline: "net1".into(),
        margin: Some(0.5),
        larger_is_better: true,
        rows: vec![
            row("net2", "better", 1.534, Some((0.9, 2.11)), &[1.0, 2.0, 1.6, 1.75]),
            row("twin", "identical", 0.0, None, &[0.0; 4]),
            row("once", "undecided", -0.25, None, &[-0.25]),
        ],
    };
    let svg = plot::forest(&forest).svg();
    let all = texts(&svg);
    for said in [
        "Difference in test accuracy from net1 (points)",
        "net2",
        "+1.53 [+0.90, +2.11] better",
        "identical",
        "−0.25 (one round) undecided",
        "better →",
        "← worse",
    ] {
        assert!(all.iter().any(|t| t == said), "{said} is not in {all:?}");
    }
    assert_eq!((pointed(&svg, "+1.75"), pointed(&svg, "0.00")), (1, 4), "{svg}");
    assert_eq!(pointed(&svg, "±0.5: differences that do not matter"), 1);
    let loss = plot::forest(&Forest { larger_is_better: false, ..forest }).svg();
    assert!(texts(&loss).iter().any(|t| t == "← better"));
}

/// The pieces of the paths drawn in a stroke of this width: the points of each.
fn pieces(svg: &str, width: &str) -> Vec<Vec<(f64, f64)>> {
    let document = Document::parse(svg).unwrap();
    let mut pieces: Vec<Vec<(f64, f64)>> = Vec::new();
    for node in document.descendants().filter(|n| n.attribute("stroke-width") == Some(width)) {
        let d =
            node.attribute("d").unwrap().replace('M', " M ").replace('l', " l ").replace('z', " ").replace('-', " -");
        let mut relative = false;
        let mut numbers = Vec::new();
        let mut at = (0.0, 0.0);
        for word in d.split_whitespace() {
            match word {
                "M" => (relative, _) = (false, pieces.push(Vec::new())),
                "l" => relative = true,
                word => numbers.push(word.parse::<f64>().unwrap_or_else(|_| panic!("{word} of {d}"))),
            }
            if let [x, y] = numbers[..] {
                at = if relative { (at.0 + x, at.1 + y) } else { (x, y) };
                pieces.last_mut().unwrap().push(at);
                numbers.clear();
            }
        }
    }
    pieces
}

#[test]
fn curves_leave_gaps_and_keep_spikes() {
    let line = |mean: Vec<f64>| Curves {
        y_label: "loss".into(),
        x_label: "step".into(),
        lines: vec![Line {
            name: "net1".into(),
            x: (0..mean.len()).map(|i| i as f64).collect(),
            mean,
            ..Line::default()
        }],
        ..Curves::default()
    };
    let gap = plot::curves(&line(vec![3.0, 2.0, f64::NAN, 1.0, 0.5])).svg();
    assert_eq!(pieces(&gap, "2").iter().filter(|p| p.len() > 1).count(), 3, "two pieces, and the sign of the legend");
    let log = Curves { log_y: true, ..line(vec![3.0, 2.0, 0.0, 1.0, 0.5, -1.0, 0.1, 0.2]) };
    assert_eq!(pieces(&plot::curves(&log).svg(), "2").len(), 4);

    let mut steps: Vec<f64> = (0..100_000).map(|i| 1.0 + (i % 7) as f64 / 70.0).collect();
    (steps[61_803], steps[20_000]) = (9.0, -3.0);
    let svg = plot::curves(&line(steps)).svg();
    let drawn = &pieces(&svg, "1").into_iter().max_by_key(Vec::len).unwrap();
    assert!((500..6000).contains(&drawn.len()), "{}", drawn.len());
    let highest = drawn.iter().min_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
    let second = drawn.iter().filter(|p| p != &highest).map(|p| p.1).fold(f64::INFINITY, f64::min);
    assert!(second - highest.1 > 150.0, "the spike stands {} above the rest", second - highest.1);
    let mut low: Vec<f64> = drawn.iter().map(|p| p.1).collect();
    low.sort_by(f64::total_cmp);
    let deep = low[low.len() - 1] - low[low.len() - 2];
    assert!(deep > 70.0, "the other hangs {deep} below the rest");
    let (first, last) = (drawn[0].0, drawn[drawn.len() - 1].0);
    let share = (highest.0 - first) / (last - first);
    assert!((share - 0.61803).abs() < 0.003, "{share}");
}

#[test]
fn stuck_rounds_are_named() {
    let values = (0..10).map(|r| (r, if r == 3 || r == 8 { 50.0 } else { 97.0 + r as f64 / 10.0 })).collect();
    let row = StripRow { name: "net1".into(), values, stuck: vec![8, 3], mean: 88.0, ..StripRow::default() };
    let svg = plot::strip(&Strip { x_label: "%".into(), rows: vec![row] }).svg();
    assert!(texts(&svg).iter().any(|t| t == "3, 8"), "{:?}", texts(&svg));
    assert!(texts(&svg).iter().any(|t| t.ends_with("2 stuck")));
    assert_eq!((pointed(&svg, "round 8: 50"), pointed(&svg, "round 2: 97.2")), (1, 1));
}

#[test]
fn a_confusion_says_counts_and_shares_of_rows() {
    let confusion = Confusion {
        title: "test".into(),
        classes: vec!["no".into(), "yes".into()],
        counts: vec![vec![9, 1, 0], vec![1, 1998, 1]],
    };
    let all = texts(&plot::confusion(&confusion).svg());
    for said in ["9", "90.0%", "10.0%", "1998", "<0.1%", "99.9%", "no number"] {
        assert!(all.iter().any(|t| t == said), "{said} is not in {all:?}");
    }
}

#[test]
fn a_region_is_as_large_as_it_is() {
    // A disk of radius 0.3 within the unit square, and a hole in it.
    let n = 81;
    let at = |i: usize| i as f32 / (n - 1) as f32;
    let far = |i: usize| ((at(i % n) - 0.5).powi(2) + (at(i / n) - 0.5).powi(2)).sqrt();
    let values = (0..n * n).map(|i| (0.3 - far(i)).min(far(i) - 0.1)).collect();
    let field = Some(Grid { width: n, height: n, x: [0.0, 1.0], y: [0.0, 1.0], values });
    let svg = plot::plane(&Plane { field, ..Plane::default() }).svg();
    let rings = pieces(&svg, "1.4");
    let area = |ring: &Vec<(f64, f64)>| {
        let next = ring.iter().skip(1).chain(&ring[..1]);
        ring.iter().zip(next).map(|(p, q)| p.0 * q.1 - q.0 * p.1).sum::<f64>() / 2.0
    };
    let mut areas: Vec<f64> = rings.iter().filter(|r| r.len() > 8).map(area).collect();
    areas.sort_by(f64::total_cmp);
    let side = 348.0_f64;
    let disk = |r: f64| std::f64::consts::PI * (r * side).powi(2);
    assert_eq!(areas.len(), 2, "{areas:?}");
    // They run opposite ways, so that the hole stays empty.
    assert!((areas[1].max(-areas[0]) / disk(0.3) - 1.0).abs() < 0.01, "{areas:?}");
    assert!((areas[1].min(-areas[0]) / disk(0.1) - 1.0).abs() < 0.02, "{areas:?}");
}

#[test]
fn a_boundary_lies_where_the_field_is_zero() {
    // Between points of a coarse grid: 0.33 of the way to the right.
    let values = (0..15).map(|i| (i % 5) as f32 / 4.0 - 0.33).collect();
    let field = Some(Grid { width: 5, height: 3, x: [0.0, 1.0], y: [0.0, 1.0], values });
    let lines = pieces(&plot::plane(&Plane { field, ..Plane::default() }).svg(), "1.4");
    assert!(!lines.is_empty());
    for (x, _) in lines.iter().flatten() {
        assert!((x - (44.0 + 0.33 * 348.0)).abs() < 0.11, "{x}");
    }
}

#[test]
fn a_network_shows_all_that_it_is() {
    let layer = |path: &str, text: &str, output: &[usize], parameters| DrawnLayer {
        path: path.into(),
        text: text.into(),
        output: output.to_vec(),
        parameters,
    };
    let branch = |name: &str, from: &[&str], shares: Option<&str>, layers| DrawnBranch {
        name: name.into(),
        from: from.iter().map(ToString::to_string).collect(),
        join: "concat".into(),
        shares: shares.map(Into::into),
        layers,
    };
    let tower = |name: &str, n| {
        vec![
            layer(&format!("{name}.conv1"), "Conv2d 16 3", &[16, 12, 12], n),
            layer(&format!("{name}.1"), "ReLU", &[16, 12, 12], 0),
        ]
    };
    let drawing = Drawing {
        inputs: vec![Port { name: "pair".into(), shape: vec![2, 14, 14] }],
        branches: vec![
            branch("left", &["pair[0]"], None, tower("left", 160)),
            branch("right", &["pair[1]"], Some("left"), tower("right", 0)),
            branch("head", &["left", "right"], None, vec![layer("head.0", "Linear 2", &[2], 9218)]),
            branch("aux", &["left:conv1"], None, vec![layer("aux.0", "Linear 10", &[10], 23050)]),
        ],
        losses: vec![DrawnLoss {
            name: "digit".into(),
            of: "aux".into(),
            target: Some("digits[0]".into()),
            kind: "CrossEntropyLoss".into(),
            weight: 0.3,
        }],
        outputs: vec![Port { name: "head".into(), shape: vec![2] }],
    };
    let plot = plot::architecture(&drawing);
    assert_eq!(plot.title(), "Network of 32,428 parameters");
    let all = texts(&plot.svg());
    for said in [
        "pair[1]",
        "Conv2d 16 3",
        "16×12×12",
        "weights of left, 0 own",
        "joins left, right",
        "main output",
        "loss digit × 0.3",
        "CrossEntropyLoss against digits[0]",
        "23,050",
    ] {
        assert!(all.iter().any(|t| t == said), "{said} is not in {all:?}");
    }
    // Five feeds; the one from conv1 leaves at its row, the one from all of left at its last.
    let document = plot.svg();
    let document = Document::parse(&document).unwrap();
    let feeds: Vec<&str> = document
        .descendants()
        .filter(|n| n.attribute("stroke-width") == Some("1.5"))
        .filter_map(|n| n.attribute("d"))
        .collect();
    assert_eq!(feeds.len(), 5, "{feeds:?}");
    let start = |d: &str| d[1..].split('c').next().unwrap().to_string();
    let y = |d: &str| start(d).split_whitespace().nth(1).unwrap().parse::<f64>().unwrap();
    assert!((y(feeds[2]) - y(feeds[4]) - 18.0).abs() < 0.2, "{feeds:?}");
    assert!(document.descendants().any(|n| n.attribute("stroke-dasharray").is_some()), "aux is not dashed");
}

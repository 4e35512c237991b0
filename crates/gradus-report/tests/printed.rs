//! A summary as it is printed: in the terminal, as Markdown, as LaTeX, as JSON.

mod common;
mod small;

use std::path::Path;

use gradus_report::{Summary, json, latex, markdown, text};
use small::{Small, predictions, small};

/// Three arms, one with a round that diverged; whatever a user can name is named by `word`.
fn made(word: impl Fn(&str) -> String) -> Small {
    let (a, b, c) = (word("one"), word("two"), word("three"));
    let mut made = small(&[
        (&a, &[85.1, 86.0, 84.7, 85.9, 86.3, 85.2, 84.9, 86.6]),
        (&b, &[86.2, 86.8, 85.9, 85.8, 87.5, 86.9, 85.3, 88.0]),
        (&c, &[85.0, 86.1, 84.7, 85.8, 86.4, 85.2, 85.0, 86.5]),
    ]);
    made.study.title = word("title");
    made.study.name = word("name");
    made.study.description = Some(word("description"));
    made.study.machine.cpu = word("cpu");
    made.rounds[0].note = word("note");
    made.set(1, "/train/optimizer/name", word("Adam").into());
    made.diverge(2, 3);
    made.trials.iter_mut().for_each(|t| t.parallel = 2);
    for arm in 0..2 {
        made.at(arm, 0).predictions = Some(predictions(&[(0, arm == 1), (1, true)]));
    }
    made
}

fn plain() -> Summary {
    made(str::to_string).summary()
}

#[test]
fn in_the_terminal() {
    let shown = text::summary(&plain(), usize::MAX);
    let expected = "\
two and one also differ in train.optimizer.name: Adam against SGD
two is better than one by 0.96 points [0.35, 1.35] (8 rounds, p = 0.0312).
no difference that matters between three and one: +0.014 points [-0.071, 0.086], within ±0.5 (7 rounds).
  1 round is left out: three diverged in round 3

test accuracy (points):
arm    n     mean ± sd   95 % interval  median       quartiles   best  worst  diverged  at best epoch  parameters  s/round  training
one    8  85.59 ± 0.70  [85.00, 86.17]   85.55  85.05 to 86.08  86.60  84.70         0   85.84 ± 0.70       1,000     1.50      1.00
two    8  86.55 ± 0.91  [85.79, 87.31]   86.50  85.88 to 87.05  88.00  85.30         0   86.80 ± 0.91       1,000     1.50      1.00
three  7  85.56 ± 0.75  [84.86, 86.25]   85.20  85.00 to 86.25  86.50  84.70         1   85.81 ± 0.75       1,000     1.50      1.00
three: 1 round diverged (round 3)
Several trials ran at a time, so times give no verdict; with --threads 1 they do.
What is said holds for new rounds of this study: new draws from the same pools of digits (note), with new first weights and orders \
of samples; not for other digits or other data.
";
    assert_eq!(shown, expected, "\n{shown}");
    // Where there is less room, what matters less goes.
    let narrow = text::summary(&plain(), 80);
    let table: Vec<&str> = narrow.lines().filter(|l| l.starts_with("arm ") || l.contains(" ± ")).collect();
    assert_eq!(table.len(), 4);
    assert!(table.iter().all(|l| l.chars().count() <= 80), "{narrow}");
    assert!(table[0].contains("95 % interval") && table[0].contains("s/round") && !table[0].contains("quartiles"));
}

#[test]
fn as_markdown() {
    let shown = markdown::summary(&plain());
    for part in [
        "# title\n\ndescription\n\n- two and one also differ in train.optimizer.name: Adam against SGD.\n  **two is better than one by \
         0.96 points \\[0.35, 1.35\\] (8 rounds, p = 0.0312)**.\n",
        "\n  1 round is left out: three diverged in round 3.\n",
        "## Arms\n\ntest accuracy (points):\n\n| arm | n | mean ± sd |",
        "| :-- | --: |",
        "\n| one | 8 | 85.59 ± 0.70 | \\[85.00, 86.17\\] | 85.55 | 85.05 to 86.08 | 86.60 | 84.70 | 0 | 85.84 ± 0.70 | 1,000 |",
        "\n| two | 8 | +0.96 | \\[0.35, 1.35\\] | 0.0156 | 0.0312 | 0.0022 | 0.0156 | 0.9710 | 1.67 | 7 | better |\n",
        "\n| two | 2 | 1 | 0 | 1.0000 |\n",
        "\n| one | 1.50 ± 0.00 | \\[1.50, 1.50\\] | 1.00 ± 0.00 |",
        "\n| test loss | 0.1441 ± 0.0070 | 0.1345 ± 0.0091 | 0.1444 ± 0.0075 |\n",
        "## Protocol\n\n3 arms were trained in 8 rounds, of which 7 to 8 came to their end in an arm.",
        "- command: gradus study run name --seed 7 --rounds 8\n",
    ] {
        assert!(shown.contains(part), "`{part}` in\n{shown}");
    }
    // Every row of a table has as many cells as its head.
    let mut cells = 0;
    for line in shown.lines() {
        let n = line.matches(" | ").count();
        assert!(!line.starts_with('|') || cells == 0 || n == cells, "{line}");
        cells = if line.starts_with('|') { n } else { 0 };
    }
}

#[test]
fn as_latex() {
    let shown = latex::summary(&plain());
    for part in [
        "\\section{title}\n",
        "  \\item two and one also differ in train.optimizer.name: Adam against SGD. \\textbf{Two is better than one by 0.96 points \
         {[}0.35, 1.35{]} (8 rounds, p = 0.0312)}.\n",
        "+0.014 points {[}$-$0.071, 0.086{]}, within $\\pm$0.5",
        "\\toprule\n  arm & n & mean $\\pm$ sd & 95 \\% interval &",
        "  one & 8 & 85.59 $\\pm$ 0.70 & {[}85.00, 86.17{]} &",
        "\\bottomrule",
        "\\paragraph{Protocol.} 3 arms",
        "-{}-seed 7",
    ] {
        assert!(shown.contains(part), "`{part}` in\n{shown}");
    }
    for (open, close) in [("\\begin{", "\\end{"), ("{", "}")] {
        assert_eq!(shown.matches(open).count(), shown.matches(close).count());
    }
}

/// What stands in a name cannot become markup, leave its cell or its line.
#[test]
fn names_stay_names() {
    let evil = |what: &str| format!("{what}<b>&_%$#|{{}}\\~^*`[x](y)\n\"!");
    let s = made(evil).summary();
    let markdown = markdown::summary(&s);
    for line in markdown.lines().filter(|l| !l.is_empty()) {
        let known = ["# ", "## ", "- ", "  ", "| "].iter().any(|start| line.starts_with(start));
        assert!(
            known || !line.contains("\"!") || line.starts_with("description") || line.starts_with("What is said"),
            "{line}"
        );
    }
    let unescaped = markdown.replace("\\]", "");
    assert!(!markdown.contains('<') && !unescaped.contains("](") && !markdown.contains("\n\""));
    let row = markdown.lines().find(|l| l.starts_with("| one")).unwrap();
    assert!(row.starts_with(r#"| one&lt;b&gt;&amp;\_%\$\#\|{}\\\~^\*\`\[x\](y) "\! | 8 | 85.59"#), "{row}");

    let latex = latex::summary(&s);
    let row = latex.lines().find(|l| l.trim_start().starts_with("one")).unwrap();
    let safe =
        r"one\textless{}b\textgreater{}\&\_\%\$\#\textbar{}\{\}\textbackslash{}\textasciitilde{}\textasciicircum{}*";
    assert!(row.trim_start().starts_with(safe), "{row}");
    // Outside of what was escaped no character of theirs is left that means something.
    let body = latex
        .lines()
        .skip(1)
        .collect::<Vec<_>>()
        .join("\n")
        .replace("\\&", "")
        .replace("\\%", "")
        .replace("\\_", "")
        .replace("\\width>", "");
    assert!(!body.contains('<') && !body.contains('>') && !body.replace("{%\n", "").contains('%'));
    for line in body.lines().filter(|l| l.contains(" & ")) {
        assert!(line.ends_with(" \\\\"), "{line}");
    }

    let text = text::summary(&s, 100);
    assert!(text.lines().all(|l| !l.starts_with("\"!")), "a name is on one line:\n{text}");
    assert!(
        text::summary(&made(|w| format!("{w}\x1b[2J")).summary(), 100).chars().all(|c| c == '\n' || !c.is_control())
    );
}

#[test]
fn as_json() {
    let mut made = made(str::to_string);
    made.at(0, 0).metrics.insert("test loss".into(), f64::NAN);
    let value = json::document(&made.summary(), Path::new("runs/name"), None);
    assert_eq!((value["out"].as_str(), value["report"].is_null()), (Some("runs/name"), true));
    assert_eq!(value["study"], "name");
    let arm = &value["arms"][1];
    assert_eq!(
        (arm["name"].as_str(), arm["rounds"].as_u64(), arm["parameters"].as_u64()),
        (Some("two"), Some(8), Some(1000))
    );
    for key in ["mean", "sd", "low", "high"] {
        assert!(arm["test_accuracy"][key].is_f64() && arm["seconds_per_round"][key].is_f64(), "{key}");
    }
    let comparison = &value["comparisons"][0];
    assert_eq!((comparison["arm"].as_str(), comparison["baseline"].as_str()), (Some("two"), Some("one")));
    for key in ["difference", "low", "high", "p", "p_holm"] {
        assert!(comparison[key].is_f64(), "{key}");
    }
    assert_eq!(
        (comparison["verdict"].as_str(), comparison["confounds"][0]["arm"].as_str()),
        (Some("better"), Some("Adam"))
    );
    let report = json::document(&made.summary(), Path::new("o"), Some(Path::new("o/report.html")));
    assert_eq!(report["report"], "o/report.html");
}

//! A summary as LaTeX: booktabs tables, the verdicts, the protocol. It is a part to be read by `\input`, and needs the packages
//! `booktabs` and `graphicx`.

use std::fmt::Write;

use crate::summary::Summary;
use crate::tables::{self, Table};
use crate::words::capital;

/// The whole summary.
pub fn summary(s: &Summary) -> String {
    let mut text = String::from("% Needs \\usepackage{booktabs} and \\usepackage{graphicx}.\n");
    let title = escape(if s.title.is_empty() { &s.study } else { &s.title });
    let _ = write!(text, "\\section{{{title}}}\n\n");
    if !s.comparisons.is_empty() {
        text += "\\begin{itemize}\n";
        for c in &s.comparisons {
            let mut words = c.confounds_sentence().map_or(String::new(), |words| escape(&format!("{words}. ")));
            words += &format!("\\textbf{{{}}}.", escape(&capital(&c.test.sentence)));
            for more in c.time.iter().map(|t| t.sentence.clone()).chain(c.missing_sentence()) {
                words += &format!(" {}.", escape(&capital(&more)));
            }
            let _ = writeln!(text, "  \\item {words}");
        }
        let _ = write!(text, "\\end{{itemize}}\n\n{}\n\n", escape(&s.population));
    }
    table(&mut text, &tables::arms(s));
    table(&mut text, &tables::comparisons(s));
    table(&mut text, &tables::contrasts(s));
    table(&mut text, &tables::mcnemar(s));
    table(&mut text, &tables::seconds(s));
    table(&mut text, &tables::times(s));
    let notes: Vec<String> =
        s.arms.iter().flat_map(|a| a.notes.iter().map(|note| format!("{}: {note}", a.name))).collect();
    for note in notes.iter().chain(&s.notes).chain([&s.timing.sentence]) {
        let _ = writeln!(text, "{}.\n", escape(&capital(note.trim_end_matches('.'))));
    }
    let _ = write!(text, "\\paragraph{{Protocol.}} {}\n\n", escape(&s.protocol));
    let lines: Vec<String> =
        s.reproduction.lines().into_iter().map(|(what, value)| format!("{what} {value}")).collect();
    let _ = writeln!(text, "\\paragraph{{Reproduction.}} {}.", escape(&lines.join("; ")));
    text
}

/// A table as wide as the page at most; nothing where it has no rows.
fn table(text: &mut String, t: &Table) {
    if t.rows.is_empty() {
        return;
    }
    let columns: String = t.columns.iter().map(|c| if c.words { 'l' } else { 'r' }).collect();
    let row = |cells: &mut dyn Iterator<Item = String>| format!("  {} \\\\\n", cells.collect::<Vec<_>>().join(" & "));
    let mut body = row(&mut t.columns.iter().map(|c| escape(&c.head)));
    body += "  \\midrule\n";
    for cells in &t.rows {
        body += &row(&mut cells.iter().map(|c| escape(c)));
    }
    let _ = write!(
        text,
        "\\begin{{table}}[htbp]\n  \\centering\n  \\caption{{{}}}\n  \\resizebox{{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}}{{!}}{{%\n  \
         \\begin{{tabular}}{{{columns}}}\n  \\toprule\n{body}  \\bottomrule\n  \\end{{tabular}}}}\n\\end{{table}}\n\n",
        escape(&capital(&t.title))
    );
}

/// Text that stays text, on one line.
pub fn escape(text: &str) -> String {
    let mut safe = String::new();
    let mut last = ' ';
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let digit_follows = chars.peek().is_some_and(char::is_ascii_digit);
        match c {
            '\\' => safe += "\\textbackslash{}",
            '{' | '}' | '$' | '&' | '#' | '%' | '_' => {
                safe.push('\\');
                safe.push(c);
            }
            '~' => safe += "\\textasciitilde{}",
            '^' => safe += "\\textasciicircum{}",
            '<' => safe += "\\textless{}",
            '>' => safe += "\\textgreater{}",
            '|' => safe += "\\textbar{}",
            '`' => safe += "\\textasciigrave{}",
            '"' => safe += "{''}",
            // After a line break of a table a bracket would begin an argument.
            '[' => safe += "{[}",
            ']' => safe += "{]}",
            '±' => safe += "$\\pm$",
            '×' => safe += "$\\times$",
            '²' => safe += "$^2$",
            '≤' => safe += "$\\le$",
            '≥' => safe += "$\\ge$",
            '∞' => safe += "$\\infty$",
            '−' => safe += "$-$",
            '-' if digit_follows && matches!(last, ' ' | '[' | '(') => safe += "$-$",
            '-' if last == '-' => safe += "{}-",
            c if c.is_whitespace() || c.is_control() => safe.push(' '),
            c => safe.push(c),
        }
        last = c;
    }
    safe
}

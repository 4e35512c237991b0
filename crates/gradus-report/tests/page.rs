//! The page of a study as a browser sees it: what is there, and what nobody can put there.

mod common;

use common::{Folder, study};
use gradus_report::{page, summary, write_figures, write_page};
use html5ever::tendril::TendrilSink;
use markup5ever_rcdom::{Handle, NodeData, RcDom};
use sha2::Digest;

/// An element: its name, attributes, and the text right in it.
struct Element {
    name: String,
    attributes: Vec<(String, String)>,
    text: String,
}

impl Element {
    fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

/// Every element of a page in its order.
fn elements(html: &str) -> Vec<Element> {
    fn walk(node: &Handle, list: &mut Vec<Element>) {
        if let NodeData::Element { name, attrs, .. } = &node.data {
            let text = |child: &Handle| match &child.data {
                NodeData::Text { contents } => contents.borrow().to_string(),
                _ => String::new(),
            };
            list.push(Element {
                name: name.local.to_string(),
                attributes: attrs.borrow().iter().map(|a| (a.name.local.to_string(), a.value.to_string())).collect(),
                text: node.children.borrow().iter().map(text).collect(),
            });
        }
        node.children.borrow().iter().for_each(|child| walk(child, list));
    }
    let dom = html5ever::parse_document(RcDom::default(), html5ever::ParseOpts::default()).one(html);
    let errors: Vec<String> = dom.errors.borrow().iter().map(ToString::to_string).collect();
    assert!(errors.is_empty(), "{errors:?}");
    let mut list = Vec::new();
    walk(&dom.document, &mut list);
    list
}

fn render(arms: usize, rounds: usize, word: impl Fn(&str) -> String) -> String {
    let folder = Folder::new("page");
    let store = study(&folder, arms, rounds, word);
    page(&store, &summary(&store).unwrap()).unwrap()
}

const HOSTILE: &[&str] = &[
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "--><img src=x onerror=alert(1)>",
    "\"><svg onload=alert(1)>",
    "' onmouseover='alert(1)",
    "\" autofocus onfocus=\"alert(1)",
    "</style><style>*{background:url(http://x.example/)}</style>",
    "</title><link rel=stylesheet href=//x.example>",
    "javascript:alert(1)",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "<a href=javascript:alert(1)>x</a>",
    "&lt;img src=x&gt; &#60;b&#62; &amp;",
    "{{ 7 * 7 }} {% raw %} {# x #}",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "</svg></td></table></section></main><form action=//x.example>",
    "]]><![CDATA[<b>",
    "\u{202e}gnp.exe\u{202c} \u{2066}x\u{200f}",
    "\u{2028}\u{2029}\u{feff}\u{1}\\u003c/script>",
    "a\"b'c`d<e>f&g\\h\nnew line\ttab",
    "<base href=//x.example><meta http-equiv=refresh content=0;url=//x.example>",
    "<template><slot><plaintext><textarea><select><option>",
    "${alert(1)} `+alert(1)+`",
];

/// What the page is made of; a study's words can add nothing to it.
const ELEMENTS: &[&str] = &[
    "a",
    "article",
    "body",
    "br",
    "caption",
    "circle",
    "clipPath",
    "code",
    "dd",
    "defs",
    "desc",
    "details",
    "div",
    "dl",
    "dt",
    "figcaption",
    "figure",
    "footer",
    "g",
    "h1",
    "h2",
    "h3",
    "head",
    "header",
    "html",
    "i",
    "image",
    "img",
    "li",
    "line",
    "main",
    "meta",
    "nav",
    "p",
    "path",
    "pattern",
    "polygon",
    "polyline",
    "pre",
    "rect",
    "script",
    "section",
    "small",
    "span",
    "strong",
    "style",
    "sub",
    "summary",
    "svg",
    "table",
    "tbody",
    "td",
    "text",
    "th",
    "thead",
    "title",
    "tr",
    "tspan",
    "ul",
    "use",
];

fn check(html: &str) -> Vec<Element> {
    let all = elements(html);
    let count = |name: &str| all.iter().filter(|e| e.name == name).count();
    for e in &all {
        assert!(ELEMENTS.contains(&e.name.as_str()), "an element <{}>", e.name);
        for (name, value) in &e.attributes {
            assert!(!name.starts_with("on"), "{name}={value:?} of <{}>", e.name);
            match name.as_str() {
                "href" => assert!(value.starts_with('#'), "a link to {value:?}"),
                "src" => assert!(value.starts_with("data:image/png;base64,"), "an image {value:?}"),
                "style" => assert!(!value.contains("url"), "{value:?}"),
                _ => assert!(!["srcset", "srcdoc", "action", "formaction", "background"].contains(&name.as_str())),
            }
        }
        if e.name == "style" {
            assert!(!e.text.contains("@import") && !e.text.contains("url(") && !e.text.contains("//"));
        }
    }
    assert_eq!((count("script"), count("style"), count("h1"), count("main")), (2, 1, 1, 1));
    let http_equiv: Vec<_> = all.iter().filter_map(|e| e.attribute("http-equiv")).collect();
    assert_eq!(http_equiv, ["Content-Security-Policy"]);
    all
}

#[test]
fn the_policy_lets_the_pages_own_script_run_and_nothing_else() {
    let html = render(2, 3, |what| what.to_string());
    let all = check(&html);
    let policy = all.iter().find(|e| e.attribute("http-equiv").is_some()).unwrap().attribute("content").unwrap();
    let script = all.iter().rfind(|e| e.name == "script").unwrap();
    let hash = sha2::Sha256::digest(script.text.as_bytes());
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits: String = hash.iter().map(|b| format!("{b:08b}")).collect::<String>() + "00";
    let digit = |six: &str| digits[usize::from_str_radix(six, 2).unwrap()] as char;
    let base64: String = (0..43).map(|i| digit(&bits[6 * i..6 * i + 6])).collect();
    assert!(
        policy.contains("default-src 'none'") && policy.contains(&format!("script-src 'sha256-{base64}='")),
        "the hash of the script is sha256-{base64}="
    );
    assert!(script.text.contains("MIT License") && script.text.contains("Leon Sorokin"), "the licence of uPlot");
}

#[test]
fn words_of_a_study_are_text() {
    for hostile in HOSTILE {
        let html = render(3, 3, |what| format!("{hostile}{what}"));
        let all = check(&html);
        // HTML knows no control characters but tab and new line.
        let heading = all.iter().find(|e| e.name == "h1").unwrap();
        assert_eq!(heading.text, format!("{hostile}title"));
        let cells = all.iter().filter(|e| ["th", "a"].contains(&e.name.as_str()));
        assert!(cells.filter(|e| e.text.contains(&format!("{hostile}arm 2"))).count() >= 3, "{hostile}");
        let data = all.iter().find(|e| e.attribute("id") == Some("charts")).unwrap();
        let charts: serde_json::Value = serde_json::from_str(&data.text).unwrap();
        assert_eq!(charts[0]["lines"][2]["name"], format!("{hostile}arm 2"));
    }
}

#[test]
fn headings_are_in_order_and_tables_say_what_they_are() {
    let all = check(&render(3, 4, |what| what.to_string()));
    let mut level = 0;
    for e in all.iter().filter(|e| ["h1", "h2", "h3"].contains(&e.name.as_str())) {
        let this: usize = e.name[1..].parse().unwrap();
        assert!(this <= level + 1, "{} after h{level}", e.name);
        level = this;
    }
    let count = |name: &str| all.iter().filter(|e| e.name == name).count();
    assert!(count("table") >= 4 && count("caption") == count("table"));
    assert!(all.iter().filter(|e| e.name == "th").all(|e| e.attribute("scope").is_some()));
    assert!(all.iter().filter(|e| e.name == "img").all(|e| e.attribute("alt").is_some()));
    let ids: Vec<&str> = all.iter().filter_map(|e| e.attribute("id")).collect();
    assert_eq!(ids.iter().collect::<std::collections::BTreeSet<_>>().len(), ids.len(), "{ids:?}");
    for link in all.iter().filter_map(|e| e.attribute("href")) {
        assert!(ids.contains(&&link[1..]), "{link} leads nowhere");
    }
}

#[test]
fn a_study_that_has_not_run_has_a_page() {
    for (arms, rounds) in [(0, 0), (1, 0), (2, 0), (1, 1), (2, 1)] {
        let all = check(&render(arms, rounds, |what| what.to_string()));
        let sections: Vec<&str> =
            all.iter().filter(|e| e.name == "section").filter_map(|e| e.attribute("id")).collect();
        assert_eq!(sections.contains(&"curves"), arms > 0 && rounds > 0, "{sections:?}");
        assert_eq!(sections.contains(&"networks"), arms > 0);
        assert!(sections.contains(&"verdicts") && sections.contains(&"protocol"));
    }
}

#[test]
fn many_arms_stay_readable() {
    let html = render(40, 2, |what| what.to_string());
    let all = check(&html);
    assert!(html.len() < 5_000_000, "{} bytes", html.len());
    let tally = all.iter().find(|e| e.attribute("class") == Some("tally")).unwrap();
    assert!(tally.text.starts_with("Of 39 arms against arm 0: "), "{}", tally.text);
    let chart = all.iter().find(|e| e.attribute("id") == Some("charts")).unwrap();
    let charts: serde_json::Value = serde_json::from_str(&chart.text).unwrap();
    assert_eq!(charts[0]["lines"].as_array().unwrap().len(), 8);
}

#[test]
fn samples_are_shown_with_what_each_arm_said() {
    let all = check(&render(3, 2, |what| what.to_string()));
    let pictures: Vec<&str> = all
        .iter()
        .filter(|e| e.attribute("class") == Some("picture"))
        .filter_map(|e| e.attribute("aria-label"))
        .collect();
    assert_eq!(pictures[..4], ["sample 0", "sample 2", "sample 1", "sample 3"]); // class by class
    let shown = all.iter().position(|e| e.name == "h3" && e.text == "Most missed").unwrap();
    let before = all[..shown].iter().filter(|e| e.attribute("class") == Some("picture")).count();
    assert_eq!(before, 4);
    let images = all.iter().filter(|e| e.name == "img").count();
    assert_eq!(images, 2 * pictures.len()); // two images each
    let said: Vec<&Element> = all.iter().filter(|e| matches!(e.attribute("class"), Some("right" | "wrong"))).collect();
    assert_eq!(said.len(), 3 * (pictures.len() - 4)); // every arm of every sample that was missed
    assert!(said.iter().any(|e| e.attribute("class") == Some("wrong")));
    // Sample 0 is a `no`: who says `yes` is wrong.
    assert!(said[..3].iter().all(|e| e.text.starts_with("arm ")));
}

#[test]
fn every_plot_is_written_in_three_forms() {
    let folder = Folder::new("figures");
    let store = study(&folder, 3, 3, |what| format!("../{what}\0"));
    let out = folder.0.join("a/b");
    let files = write_figures(&store, &summary(&store).unwrap(), &out).unwrap();
    let mut there: Vec<_> = std::fs::read_dir(&out).unwrap().map(|f| f.unwrap().path()).collect();
    there.sort();
    let mut said = files.clone();
    said.sort();
    assert_eq!(there, said);
    let names: Vec<&str> = files.iter().filter_map(|f| f.file_name()?.to_str()).collect();
    for name in ["differences.svg", "rounds.png", "curve-1-test-accuracy.pdf", "points.svg"] {
        assert!(names.contains(&name), "{name} is not among {names:?}");
    }
    for file in &files {
        let bytes = std::fs::read(file).unwrap();
        let begins: &[u8] = match file.extension().unwrap().to_str().unwrap() {
            "svg" => b"<?xml",
            "png" => b"\x89PNG",
            _ => b"%PDF",
        };
        assert!(bytes.starts_with(begins), "{}", file.display());
    }
    let page = folder.0.join("report.html");
    write_page(&store, &summary(&store).unwrap(), &page).unwrap();
    assert!(std::fs::read(&page).unwrap().starts_with(b"<!doctype html>"));
}

#[test]
fn what_was_tuned_is_told() {
    let all = check(&render(2, 1, |what| what.to_string()));
    let caption = all.iter().find(|e| e.name == "caption" && e.text.starts_with("How arm 0 was tuned")).unwrap();
    assert!(
        caption.text.contains("3 tuning rounds") && caption.text.contains("key lies at the edge"),
        "{}",
        caption.text
    );
    let chosen = all.iter().position(|e| e.attribute("class") == Some("chosen")).unwrap();
    let cells: Vec<&str> = all[chosen + 1..chosen + 3].iter().map(|e| e.text.trim()).collect();
    assert_eq!(cells, ["0.1", "90.00"]);
    assert!(all.iter().any(|e| e.name == "td" && e.text == "diverged"));
}

/// Some minutes; `cargo test -p gradus-report -- --ignored`.
#[test]
#[ignore = "some minutes"]
fn a_large_study_has_a_page_of_a_few_megabytes() {
    let html = render(100, 1000, |what| what.to_string());
    check(&html);
    println!("{} bytes", html.len());
    assert!(html.len() < 5_000_000, "{} bytes", html.len());
}

//! What is wrong with a file is told with its place, what was expected, and the nearest known word.

use gradus_study::{Overrides, Study};

/// A study with one arm that every case below changes in one place.
const GOOD: &str = r#"
title = "t"
rounds = 3
[data]
source = "disk"
train = 100
test = 50
[train]
epochs = 2
batch = 10
optimizer = "SGD lr=0.1"
[arm.a]
left = { from = "points", layers = ["Linear 4", "act: ReLU"] }
right = { from = "left:act", layers = ["Linear 3"] }
head = { from = ["left", "right"], layers = ["Linear 2"] }
loss.inside = { of = "head", target = "inside", kind = "MSELoss" }
[arm.b]
base = "a"
right = { from = "points", share = "left" }
[compare]
baseline = "a"
"#;

fn parse(text: &str) -> Result<Study, Box<gradus_study::Diagnostic>> {
    Study::parse(text, "study.toml", &Overrides::new())
}

#[test]
fn the_good_one_is_good() {
    let study = parse(GOOD).unwrap();
    assert_eq!(study.arms.keys().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(study.arm(None).unwrap().name, "a");
    assert_eq!(study.arm(Some("a")).unwrap().graph().unwrap().parameters(), 12 + 15 + 7 * 2 + 2);
    assert_eq!(study.arm(Some("b")).unwrap().graph().unwrap().parameters(), 12 + 8 * 2 + 2);
    assert!(study.arm(Some("c")).unwrap_err().to_string().contains("no arm `c`"));
}

#[test]
fn the_caret_points_at_what_is_wrong() {
    let cases: &[(&str, &str, &str, &str)] = &[
        // what is replaced, by what, where the caret points, what it says
        ("title", "titel", "titel", "did you mean `title`"),
        ("rounds = 3", "rounds = 0", "0", "a whole number from 1 on"),
        ("rounds = 3", "rounds = 2000000", "2000000", "at most 1000000 rounds"),
        ("rounds = 3", "rounds = 99999999999999999999", "99999999999999999999", "too large"),
        ("rounds = 3", "rounds = \"3\"", "\"3\"", "found the text \"3\""),
        ("rounds = 3", "epochs = 3", "epochs", "belongs to [train]"),
        ("rounds = 3", "rounds = \"3", "", "basic string"),
        ("epochs = 2", "epochs = 2.5", "2.5", "a whole number from 1 on"),
        ("epochs = 2", "epoch = 2", "epoch", "did you mean `epochs`"),
        ("epochs = 2", "epochs = 9999999999", "9999999999", "at most 4294967295"),
        ("epochs = 2", "lr = 0.1", "lr", "it is an argument: optimizer = \"SGD lr=…\""),
        ("epochs = 2", "gamma = 0.1", "gamma", "schedule = \"StepLR gamma=…\""),
        ("batch = 10", "augment = \"RandomSwap\"", "\"RandomSwap\"", "`augment` is a list of transforms"),
        ("batch = 10", "augment = [\"RandomCorp 2\"]", "RandomCorp", "did you mean `RandomCrop`"),
        ("batch = 10", "augment = [\"RandomCrop 2\"]", "\"RandomCrop 2\"", "arm `a`: RandomCrop changes images"),
        ("batch = 10", "patience = 3", "3", "validation samples"),
        ("batch = 10", "clip_norm = -1", "-1", "above 0"),
        ("batch = 10", "keep = \"bets\"", "\"bets\"", "did you mean `best`"),
        ("lr=0.1", "lr=-0.1", "-0.1", "lr"),
        ("lr=0.1", "rl=0.1", "rl", "did you mean `lr`"),
        ("SGD lr", "SGDD lr", "SGDD", "did you mean `SGD`"),
        ("\"disk\"", "\"disc\"", "\"disc\"", "did you mean `disk`"),
        ("source = \"disk\"", "raw = true", "raw", "needs `source`"),
        ("train = 100", "dir = \"x\"", "\"x\"", "for the source mnist-pairs and mnist"),
        ("train = 100", "validation = 1000", "1000", "leaves none"),
        ("train = 100", "train = 4000000000", "4000000000", "from 1 to 10000000"),
        ("train = 100", "train = 1e3", "1e3", "a whole number"),
        ("\"Linear 4\"", "\"Liner 4\"", "Liner", "did you mean `Linear`"),
        ("\"Linear 4\"", "\"Linear four\"", "four", "a whole number from 1 on"),
        ("\"Linear 4\"", "{ layer = \"Linear\", out_features = 4, bais = true }", "bais", "did you mean `bias`"),
        ("\"Linear 4\"", "4", "4", "expected a layer"),
        ("\"act: ReLU\"", "\"act: ReLU\", \"act: ReLU\"", "\"act: ReLU\"", "two layers have the label"),
        ("\"act: ReLU\"", "\"1: ReLU\"", "\"1: ReLU\"", "label `1` is a number"),
        ("\"left:act\"", "\"left:atc\"", "\"left:atc\"", "no layer `atc`"),
        ("\"left:act\"", "\"lft:act\"", "\"lft:act\"", "did you mean `left`"),
        ("\"left:act\"", "\"left act\"", "\"left act\"", "is not a place"),
        ("\"left:act\"", "\"points[7]\"", "\"points[7]\"", "out of range"),
        ("\"left:act\"", "\"head\"", "right", "circle"),
        ("of = \"head\"", "of = \"heda\"", "\"heda\"", "did you mean `head`"),
        ("of = \"head\"", "of = \"head:7\"", "\"head:7\"", "no layer `7`"),
        ("loss.inside = {", "lss.inside = {", "inside", "did you mean `loss`"),
        ("target = \"inside\"", "target = \"insde\"", "\"insde\"", "did you mean `inside`"),
        ("\"Linear 2\"]", "\"Linear 5\"]", "\"MSELoss\"", "wants 2 outputs"),
        ("\"MSELoss\"", "\"MSELoss reduction=no\"", "no", "one of mean, sum"),
        ("kind = \"MSELoss\"", "weight = 2", "inside", "needs `kind`"),
        ("base = \"a\"", "bse = \"a\"", "bse", "did you mean `base`"),
        ("base = \"a\"", "base = \"b\"", "\"b\"", "circle"),
        ("base = \"a\"", "base = \"x\"", "\"x\"", "no arm `x`"),
        ("right = { from = \"points\", share = \"left\" }", "rigth = false", "false", "did you mean `right`"),
        ("right = { from = \"points\", share = \"left\" }", "", "b", "are the same"),
        ("right = { from = \"points\", share = \"left\" }", "right = false", "\"right\"", "no branch or input `right`"),
        ("share = \"left\"", "share = \"left\", layers = []", "share", "give one of"),
        ("share = \"left\"", "share = \"lef\"", "\"lef\"", "did you mean `left`"),
        ("share = \"left\"", "shre = \"left\"", "shre", "did you mean `share`"),
        ("from = \"points\", share = \"left\"", "from = \"head\", share = \"left\"", "right", "circle"),
        ("from = \"points\", share", "from = \"right2\", share", "\"right2\"", "no branch or input"),
        ("from = \"points\", share", "from = \"points[0]\", share", "\"left\"", "shares the weights"),
        ("baseline = \"a\"", "baseline = \"c\"", "\"c\"", "no arm `c`"),
        ("baseline = \"a\"", "metric = \"test acuracy\"", "\"test acuracy\"", "did you mean `accuracy`"),
        ("baseline = \"a\"", "metric = \"test loss of x\"", "\"test loss of x\"", "no loss `x`"),
        ("baseline = \"a\"", "metric = \"validation loss\"", "\"validation loss\"", "no validation samples"),
        ("baseline = \"a\"", "margin = nan", "nan", "finite"),
        (
            "[arm.b]\nbase = \"a\"",
            "[matrix]\ntrain.epochs = [1]\n[arm.b]\nbase = \"a\"",
            "\"a\"",
            "such as `a epochs=1`",
        ),
        ("[arm.b]\nbase = \"a\"", "[arm.b]\nbase = \"a\"\nfreeze = [\"x.*\"]", "\"x.*\"", "no parameter"),
        ("[arm.b]\nbase = \"a\"", "[arm.b]\nbase = \"a\"\ninit = \"he\"", "\"he\"", "no initialiser"),
        ("[arm.b]\nbase = \"a\"", "[arm.b]\nbase = \"a\"\nloss.inside = false", "b", "no loss"),
        ("[arm.b]\nbase = \"a\"", "[arm.\"b/c\"]\nbase = \"a\"", "\"b/c\"", "a name is"),
    ];
    let mut wrong = Vec::new();
    for (old, new, excerpt, message) in cases {
        let at = GOOD.rfind(old).filter(|_| GOOD.matches(old).count() == 1).or(GOOD.find(old)).unwrap();
        let text = format!("{}{new}{}", &GOOD[..at], &GOOD[at + old.len()..]);
        let Err(e) = parse(&text) else {
            wrong.push(format!("{old} -> {new} is read"));
            continue;
        };
        if !e.message().contains(message) || e.excerpt() != *excerpt {
            wrong.push(format!("{old} -> {new}: `{}` {e}", e.excerpt()));
        }
        let (line, column) = e.position();
        let report = e.to_string();
        assert!(report.contains(&format!("study.toml:{line}:{column}")) && report.contains('^'), "{report}");
        let error = gradus::Error::from(e);
        assert!(error.to_string().starts_with(&format!("study.toml:{line}:{column}: ")), "{error}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_layer_that_does_not_fit_is_shown_where_it_is_written() {
    let text =
        GOOD.replace("head = { from = [\"left\", \"right\"]", "head = { from = [\"left\", \"left\"], join = \"add\"");
    parse(&text).unwrap();
    let text = GOOD.replace("from = [\"left\", \"right\"]", "from = [\"left\", \"right\"], join = \"add\"");
    let e = parse(&text).unwrap_err();
    assert_eq!(e.excerpt(), "[\"left\", \"right\"]");
    assert!(e.message().contains("(4)") && e.message().contains("(3)"), "{e}");
}

#[test]
fn flags_are_named() {
    let with = |flags: &[&str]| Overrides::parse(flags).and_then(|o| Study::parse(GOOD, "study.toml", &o));
    for (flag, excerpt, message) in [
        ("train.epochs", "train.epochs", "key=value"),
        ("train..epochs=1", "train..epochs", "a key with dots"),
        ("train.epocs=1", "epocs", "did you mean `epochs`"),
        ("train.epochs=x", "x", "a whole number"),
        ("train.epochs=[1", "", "array"),
        ("train.epochs=", "train.epochs=", "expected a value"),
        ("train.epochs=99999999999999999999", "99999999999999999999", "too large"),
        ("train.optimizer.lr=nan", "nan", "finite"),
        ("train.epochs.x=1", "epochs", "has no keys"),
        ("train.optimizer.lr=fast", "fast", "a number"),
        ("train.optimizer=SGDD", "SGDD", "did you mean `SGD`"),
        ("arm.c.head.layers=[]", "c", "no arm `c`"),
        ("arm.a.left.layers.5=ReLU", "5", "a list of 2"),
        ("arm.a.left.layers.0.out_feature=5", "out_feature", "did you mean"),
        ("arm.a.left.layers=[\"Liner 3\"]", "Liner", "did you mean `Linear`"),
    ] {
        let e = with(&[flag]).map(drop).expect_err(flag);
        assert!(e.message().contains(message), "{flag}: {e}");
        assert_eq!((e.excerpt(), e.file()), (excerpt, "--set"), "{flag}: {e}");
        assert!(e.to_string().contains("--set:1:"), "{e}");
    }
    let study = with(&[
        "train.optimizer.lr=0.03",
        "data.train = 200",
        "arm.a.left.layers.0.out_features=6",
        "arm.b.head.layers=[\"Linear 9\", \"Linear 2\"]",
        "arm.b.loss.inside.weight=2",
        "arm.b.train.optimizer.momentum=0.5",
        "title=hello",
    ])
    .unwrap();
    assert_eq!((study.title.as_str(), study.arms["a"].data.train), ("hello", Some(200)));
    assert_eq!(study.arms["a"].train.optimizer.to_string(), "SGD lr=0.03");
    assert_eq!(study.arms["b"].train.optimizer.to_string(), "SGD lr=0.03 momentum=0.5");
    let [a, b] = ["a", "b"].map(|n| &study.arms[n].architecture);
    assert_eq!(a.branches["left"], b.branches["left"]);
    assert_eq!(a.branches["left"].layers[0].to_string(), "Linear out_features=6");
    assert_eq!((b.branches["head"].layers.len(), a.branches["head"].layers.len()), (2, 1));
    assert_eq!((a.losses["inside"].weight, b.losses["inside"].weight), (1.0, 2.0));
}

#[test]
fn arms_are_patches() {
    let text = r#"
[data]
source = "disk"
[train]
epochs = 2
optimizer = "SGD lr=0.1 momentum=0.9"
schedule = "StepLR 5"
[arm.c]                                     # a base may come later
base = "b"
description = "c"
train.epochs = 3
[arm.a]
description = "a"
init = "zeros"
net = { from = "points", layers = ["Linear 2"] }
aux = { from = "net", layers = ["Linear 2"] }
loss.net = { of = "net", kind = "MSELoss" }
loss.aux = { of = "aux", kind = "MSELoss", weight = 0.5 }
[arm.b]
base = "a"
aux = false
loss.aux = false
train = { schedule = false, optimizer = { lr = 0.2 } }
data = { raw = true }
"#;
    let study = parse(text).unwrap();
    assert_eq!(study.arms.keys().collect::<Vec<_>>(), ["c", "a", "b"]);
    assert_eq!(study.compare.baseline, "c");
    let c = &study.arms["c"];
    assert_eq!(c.architecture.branches.keys().collect::<Vec<_>>(), ["net"]);
    assert_eq!(c.architecture.losses.keys().collect::<Vec<_>>(), ["net"]);
    assert_eq!((c.architecture.init.as_deref(), c.description.as_deref()), (Some("zeros"), Some("c")));
    assert_eq!(c.train.optimizer.to_string(), "SGD lr=0.2 momentum=0.9");
    assert_eq!((c.train.epochs, c.train.schedule.is_none(), c.data.raw), (3, true, true));
    assert_eq!(study.arms["a"].train.schedule.as_ref().unwrap().to_string(), "StepLR step_size=5");
    assert_eq!(study.arms["b"].description, None);
    let json = serde_json::to_string(c).unwrap();
    assert_eq!(&serde_json::from_str::<gradus_study::ArmSettings>(&json).unwrap(), c);
}

#[test]
fn an_optimizer_without_a_name_changes_the_default() {
    let text = GOOD.replace("optimizer = \"SGD lr=0.1\"\n", "");
    let study = |flag: &str| Study::parse(&text, "study.toml", &Overrides::parse([flag]).unwrap());
    let optimizer = |flag: &str| study(flag).unwrap().arms["b"].train.optimizer.to_string();
    assert_eq!(optimizer("rounds=3"), "SGD lr=0.01");
    assert_eq!(optimizer("train.optimizer.lr=0.03"), "SGD lr=0.03");
    assert_eq!(optimizer("train.optimizer={ momentum = 0.5 }"), "SGD lr=0.01 momentum=0.5");
    assert_eq!(optimizer("arm.a.train.optimizer.momentum=0.5"), "SGD lr=0.01 momentum=0.5");
    let e = study("train.optimizer.rl=1").unwrap_err();
    assert!(e.excerpt() == "rl" && e.message().contains("did you mean `lr`"), "{e}");
}

#[test]
fn files_that_are_no_studies_are_refused() {
    let dir = std::env::temp_dir().join(format!("gradus-study-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let error = |bytes: &[u8]| {
        let path = dir.join("x.toml");
        std::fs::write(&path, bytes).unwrap();
        Study::read(&path, &Overrides::new()).unwrap_err().to_string()
    };
    assert!(error(b"title = \"\xff\"").contains("byte 9 is not UTF-8"));
    assert!(error(&vec![b'#'; 10 << 20]).contains("1048576"));
    assert!(error(b"").contains("needs `arm`"));
    assert!(error(b"[arm]").contains("no arm"));
    assert!(error(b"[arm.a]").contains("source"));
    assert!(error(b"[data]\nsource = \"disk\"\n[arm.a]").contains("no branch"));
    assert!(error(b"[data]\nsource = \"csv\"\nfile = \"no.csv\"\n[arm.a]\nx = { from = \"x\" }\nloss.x = { of = \"x\", kind = \"MSELoss\" }").contains("no.csv"));
    let missing = Study::read(&dir.join("none.toml"), &Overrides::new()).unwrap_err();
    assert!(missing.to_string().contains("cannot be read") && missing.kind() == gradus::error::Kind::Io, "{missing}");
    let open = |name: &str| gradus_study::open(name, &Overrides::new()).unwrap_err().message().to_string();
    assert!(open(&dir.join("x").display().to_string()).contains("x.toml`?"));
    assert!(open(&dir.display().to_string()).contains("this is a folder"));
    assert!(open("pairs.toml").contains("did you mean `pairs`, without"));
    std::fs::remove_dir_all(dir).unwrap();
    assert!(gradus_study::open("dsk", &Overrides::new()).unwrap_err().message().contains("did you mean `disk`"));
}

/// What is wrong with [matrix] and [tune] is told at the very value.
#[test]
fn combinations_that_make_no_sense_are_pointed_at() {
    let cases: &[(&str, &str, &str)] = &[
        // what is added, where the caret points, what it says
        ("[matrix]\ntrain.batch = []", "[]", "found an empty one"),
        ("[matrix]\ntrain.batch = 3", "3", "takes a list of values"),
        ("[matrix]\ntrain.batch = [10, 10]", "10", "10 stands in the list twice"),
        ("[matrix]\ntrain.batch = [10, 0]", "0", "a whole number from 1 on"),
        ("[matrix]\ntrain.bacth = [10]", "bacth", "did you mean `batch`"),
        ("[matrix]\ntrian.batch = [10]", "trian", "did you mean `train`"),
        ("[matrix]\ntrain.optimizer.rl = [0.1]", "rl", "did you mean `lr`"),
        ("[matrix]\nrounds = [1, 2]", "rounds", "of the whole study"),
        ("[matrix]\nbase = [\"a\"]", "base", "no value that can be varied"),
        ("[matrix]\nloss.insde.weight = [1, 2]", "insde", "did you mean `inside`"),
        ("[matrix]\narm.c.train.batch = [1, 2]", "c", "no arm `c`"),
        ("[matrix]\narms = [\"b\"]\narm.a.train.batch = [1, 2]", "a", "none of those it is for: b"),
        ("[matrix]\narms = [\"a\", \"bb\"]", "\"bb\"", "no arm `bb`"),
        ("[matrix]\ntrain.batch = [5, 7]\n\"train.batch\" = [5]", "train.batch", "given twice"),
        ("[matrix]\ntrain.optimizer.lr = [0.2, 0.20]", "0.20", "are the same"),
        ("[matrix]\nleft.layers.7 = [\"ReLU\"]", "7", "a list of 2"),
        ("[tune]\nrounds = 2", "tune", "needs a key with its values"),
        ("[tune]\ntrain.batch = [5]", "tune", "nothing to choose from for arm `a`"),
        ("[tune]\ndata.train = [5, 6]", "5", "cannot be tuned"),
        ("[tune]\nvalidation = 100\ntrain.batch = [5, 6]", "100", "leaves none"),
        (
            "[tune]\nmetric = \"test accuracy\"\ntrain.batch = [5, 6]",
            "\"test accuracy\"",
            "judged on validation samples",
        ),
        (
            "[tune]\nmetric = \"validation acuracy\"\ntrain.batch = [5, 6]",
            "\"validation acuracy\"",
            "did you mean `accuracy`",
        ),
        ("[tune]\ntrain.batch = [5, 6]\n[matrix]\ntrain.batch = [7, 8]", "5", "varied by [matrix] already"),
        ("[tune]\ntrain.batch = [5, 6]\n[arm.c]\nbase = \"a\"\ntrain.batch = 11", "5", "are the same"),
    ];
    let good = GOOD.replace("[compare]\nbaseline = \"a\"\n", "");
    for (added, excerpt, message) in cases {
        let e = parse(&format!("{good}{added}")).expect_err(added);
        assert!(e.message().contains(message), "{added}: {e}");
        assert!(e.excerpt() == *excerpt || e.excerpt().contains(excerpt), "{added}: {}", e.excerpt());
    }
    let many = format!("{GOOD}[matrix]\ntrain.batch = {:?}\ntrain.epochs = {:?}", [1; 0], [1; 0]);
    assert!(parse(&many).is_err());
    let list = |n: u32| (1..=n).collect::<Vec<_>>();
    let many = |n| format!("{GOOD}[matrix]\ntrain.batch = {:?}\ntrain.epochs = {:?}", list(n), list(n));
    let e = parse(&many(23)).unwrap_err();
    assert!(e.message().contains("makes 1058 combinations; at most 1000") && e.excerpt() == "matrix", "{e}");
    assert!(parse(&many(5)).unwrap_err().message().contains("makes other arms of `a`"), "the baseline");
}

#[test]
fn a_matrix_makes_an_arm_of_each_combination() {
    let text = GOOD.replace("baseline = \"a\"", "baseline = \"b lr=0.3 out_features=2\"")
        + "[matrix]\ntrain.optimizer.lr = [0.2, 0.3]\narm.b.head.layers.0.out_features = [2]\nleft.layers.0 = [\"Linear 4\", \"Linear 5\"]";
    let study = parse(&text.replace("left.layers.0 =", "arm.a.left.layers.0 =")).unwrap();
    let names: Vec<&String> = study.arms.keys().collect();
    assert_eq!(
        names,
        [
            "a lr=0.2 0=Linear 4",
            "a lr=0.2 0=Linear 5",
            "a lr=0.3 0=Linear 4",
            "a lr=0.3 0=Linear 5",
            "b lr=0.2 out_features=2",
            "b lr=0.3 out_features=2"
        ]
    );
    let (arm, origin) = (&study.arms["a lr=0.3 0=Linear 5"], &study.origins["a lr=0.3 0=Linear 5"]);
    assert_eq!((arm.name.as_str(), arm.train.optimizer.to_string().as_str()), ("a lr=0.3 0=Linear 5", "SGD lr=0.3"));
    assert_eq!(arm.graph().unwrap().parameters(), 15 + 18 + 8 * 2 + 2);
    let factors: Vec<(&str, &str)> = origin.factors.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(factors, [("train.optimizer.lr", "0.3"), ("left.layers.0", "Linear 5"), ("arm", "a")]);
    assert_eq!((origin.from.as_str(), study.compare.baseline.as_str()), ("a", "b lr=0.3 out_features=2"));
    assert!(study.arm(Some("a lr=0.2 0=Linear 4")).is_ok());
    // Some arms alone; the others stay as they are. `--set` reaches the values too.
    let some = format!("{GOOD}[matrix]\narms = [\"b\"]\ntrain.batch = [5, 7]");
    let study = parse(&some).unwrap();
    assert_eq!(study.arms.keys().collect::<Vec<_>>(), ["a", "b batch=5", "b batch=7"]);
    assert!(study.origins["b batch=5"].factors.len() == 1 && !study.origins.contains_key("a"));
    let set = Overrides::parse(["matrix.train.batch=[3,4,6]"]).unwrap();
    assert_eq!(Study::parse(&some, "s.toml", &set).unwrap().arms.len(), 4);
    let json = serde_json::to_string(&study).unwrap();
    let read: Study = serde_json::from_str(&json).unwrap();
    assert_eq!((read.arms, read.origins, read.seed), (study.arms, study.origins, study.seed));
}

#[test]
fn arms_are_tuned_unless_they_say_no() {
    let text = GOOD.replace("[arm.b]", "[arm.b]\ntune = false")
        + "[tune]\nrounds = 2\ntrain.optimizer = [\"SGD lr=0.3\", \"Adam lr=0.01\"]\ntrain.batch = [5, 10]";
    let study = parse(&text).unwrap();
    let tune = study.tune.unwrap();
    assert_eq!((tune.rounds, tune.validation, tune.metric.as_str()), (2, None, "validation accuracy"));
    assert_eq!(tune.candidates.keys().collect::<Vec<_>>(), ["a"]);
    let c = &tune.candidates["a"];
    assert_eq!((c.len(), c[1].values["train.batch"].as_str(), c[1].settings.train.batch), (4, "10", 10));
    assert_eq!(
        (c[2].settings.train.optimizer.to_string().as_str(), c[2].settings.name.as_str()),
        ("Adam lr=0.01", "a")
    );
    // After [matrix], every arm that it made.
    let both = format!("{GOOD}[matrix]\ntrain.batch = [5, 7]\n[compare]\n[tune]\ntrain.optimizer.lr = [0.1, 0.2]");
    let both = both.replacen("[compare]\nbaseline = \"a\"\n", "", 1);
    let tune = parse(&both).unwrap().tune.unwrap();
    assert_eq!(tune.candidates.keys().collect::<Vec<_>>(), ["a batch=5", "a batch=7", "b batch=5", "b batch=7"]);
    assert_eq!(tune.candidates["b batch=7"][1].settings.train.batch, 7);
}

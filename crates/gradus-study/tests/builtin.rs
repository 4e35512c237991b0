//! The studies that Gradus carries.

use gradus::rng::Seed;
use gradus_study::{ArmSettings, Overrides, Study, builtin, new_file, open};

fn arm(study: &str, arm: &str) -> ArmSettings {
    open(study, &Overrides::new()).unwrap().arm(Some(arm)).unwrap().clone()
}

fn parameters(study: &str, name: &str) -> usize {
    arm(study, name).graph().unwrap().parameters()
}

#[test]
fn every_arm_of_every_study_resolves() {
    for (name, _) in builtin::list() {
        let study = open(name, &Overrides::new()).unwrap_or_else(|e| panic!("{e}"));
        assert!(study.title != *name && !study.arms.is_empty());
        for arm in study.arms.values() {
            arm.graph().unwrap_or_else(|e| panic!("{name}.{}: {e}", arm.name));
        }
    }
}

/// Numbers of a layer with `i` inputs (times the kernel) and `o` outputs, with bias.
const fn affine(i: usize, o: usize) -> usize {
    i * o + o
}

#[test]
fn parameters_are_those_counted_by_hand() {
    let disk = affine(2, 25) + 2 * affine(25, 25) + affine(25, 2);
    assert_eq!(disk, 1427);
    for (study, name) in
        [("disk", "relu"), ("disk", "tanh"), ("r1-disk", "published"), ("r1-disk", "better"), ("r3-losses", "mae")]
    {
        assert_eq!(parameters(study, name), disk, "{study} {name}");
    }
    assert_eq!(parameters("r2-disk", "published"), affine(2, 25) + affine(25, 25) + affine(25, 1));

    // 14 → 12 → (pool) 6 → 4: 32 channels of 4×4 from each image.
    let tower = affine(9, 16) + affine(16 * 9, 32);
    let small = |inputs| affine(inputs, 64) + affine(64, 32) + affine(32, 2);
    let net1 = 2 * tower + small(1024);
    assert_eq!((tower, net1), (4800, 77_346));
    for (study, name, count) in [
        ("pairs", "net1", net1),
        ("pairs", "net2", net1 - tower),
        ("pairs", "net2_digits", tower + affine(512, 64) + affine(64, 10) + affine(20, 64) + affine(64, 2)),
        ("r4-sharing", "net1", net1),
        ("r4-sharing", "net2", net1 - tower),
        ("r4-aux", "one_aux", net1 + small(2 * 16 * 12 * 12)),
        ("r4-aux", "net1_aux", net1 + small(2 * 16 * 12 * 12) + small(2 * 16 * 6 * 6)),
        ("r4-net3", "one_layer", net1 - tower + affine(32, 10)),
        ("r4-net3", "net3", net1 - tower + 2 * affine(32, 10)),
        ("r4-time", "net2_100", net1 - tower),
    ] {
        assert_eq!(parameters(study, name), count, "{study} {name}");
    }

    // 14 → 14 → 14 → 7 → 7 → 7 → 7 → 3: 256 channels of 3×3 from each image.
    let deep_tower =
        affine(9, 16) + affine(16 * 25, 32) + affine(32 * 9, 128) + affine(128 * 9, 128) + affine(128 * 9, 256);
    let large = |inputs| affine(inputs, 512) + affine(512, 64) + affine(64, 2);
    let deep = 2 * deep_tower + large(512 * 9);
    assert_eq!((deep_tower, deep), (492_736, 3_378_242));
    for (study, name, count) in [
        ("r4-depth", "net1", net1),
        ("r4-depth", "net1_deep", deep),
        ("r4-deep-aux", "net1_deep", deep),
        ("r4-deep-aux", "net1_deep_aux", deep + large(2 * 16 * 196) + large(2 * 32 * 49) + large(2 * 128 * 49)),
        ("r4-classes", "net1_deep_classes", deep + 2 * affine(64, 10)),
        ("r4-classes", "net1_deep_classes_published", deep + affine(64, 10)),
    ] {
        assert_eq!(parameters(study, name), count, "{study} {name}");
    }
}

#[test]
fn protocols_are_those_published() {
    let a = arm("r1-disk", "published");
    assert_eq!((a.train.epochs, a.train.batch, a.train.shuffle, a.data.raw), (150, 20, false, true));
    assert_eq!(
        (a.train.optimizer.to_string().as_str(), a.architecture.init.as_deref()),
        ("SGD lr=0.0001", Some("kaiming_normal"))
    );
    assert_eq!(a.architecture.losses["inside"].kind.to_string(), "MSELoss reduction=sum");
    for (study, name, lr, epochs) in [
        ("r4-sharing", "net1", "0.01", 30),
        ("r4-sharing", "net2", "0.01", 30),
        ("r4-net3", "net2", "0.01", 30),
        ("r4-net3", "net3", "0.01", 30),
        ("r4-aux", "net1", "0.01", 60),
        ("r4-aux", "net1_aux", "0.0075", 60),
        ("r4-deep-aux", "net1_deep", "0.01", 125),
        ("r4-deep-aux", "net1_deep_aux", "0.002", 125),
        ("r4-classes", "net1_deep", "0.01", 50),
        ("r4-classes", "net1_deep_classes", "0.0003", 400),
        ("r4-depth", "net1", "0.01", 60),
        ("r4-depth", "net1_deep", "0.01", 125),
    ] {
        let a = arm(study, &format!("{name}_published"));
        assert_eq!((a.train.optimizer.to_string(), a.train.epochs), (format!("SGD lr={lr}"), epochs), "{study} {name}");
        assert_eq!((a.train.batch, a.train.shuffle, a.data.raw, a.data.train), (50, false, true, Some(1000)));
        assert!(a.architecture.losses.values().all(|l| l.weight == 1.0));
        // The mended arms are trained alike.
        let a = arm(study, name);
        assert_eq!((a.train.optimizer.to_string().as_str(), a.data.raw, a.train.shuffle), ("Adam", false, true));
    }
    let square = arm("r2-disk", "square");
    assert!(square.data.square && !arm("r2-disk", "published").data.square);
    assert_eq!(square.data.load(Seed(1)).unwrap().0.info.source, "disk, square");
}

#[test]
fn a_new_file_is_the_built_in_one_with_its_comments() {
    for (name, text) in builtin::list() {
        let new = new_file("mine", Some(name)).unwrap();
        assert!(new.starts_with("# mine.toml") && new.contains(name));
        let [a, b] = [&new, *text]
            .map(|t| Study::parse(t, "mine.toml", &Overrides::new()).unwrap_or_else(|e| panic!("{e}")).arms);
        assert_eq!(a, b, "{name}");
    }
    assert!(new_file("a/b", None).is_err());
    assert!(new_file("a", Some("dsik")).unwrap_err().to_string().contains("did you mean `disk`"));
}

/// Splitmix64: the same mutations every time.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }
}

#[test]
fn no_mutation_of_a_study_makes_the_parser_panic() {
    let mut random = Random(1);
    let words = [
        "=",
        "\"",
        "[",
        "]",
        "{",
        "}",
        "'",
        "'''",
        "\n",
        ".",
        ",",
        "#",
        "\\u12",
        "é",
        "-1",
        "1e400",
        "99999999999999999999",
        "false",
        "nan",
        "4294967295",
        "2021-01-01",
        "Linear",
        "share = \"left\"",
        "base = \"net2\"",
        "pair[1]",
        "left:1",
        "[[arm]]",
        "[arm.x]\n",
        "\0",
        "Linear 4294967295",
        "Conv2d 65535 9",
        "\u{feff}",
        "init = \"zeros\"",
        "layers = []",
        "x9999999999999999999",
    ];
    let (mut good, mut bad) = (0, 0);
    for (name, text) in builtin::list() {
        for _ in 0..150 {
            let mut chars: Vec<char> = text.chars().collect();
            for _ in 0..1 + random.below(3) {
                let at = random.below(chars.len());
                let to = (at + 1 + random.below(12)).min(chars.len());
                match random.below(4) {
                    0 => drop(chars.drain(at..to)),
                    1 => drop(chars.splice(at..at, words[random.below(words.len())].chars())),
                    2 => drop(chars.splice(at..to, words[random.below(words.len())].chars())),
                    _ => {
                        let line: Vec<char> = chars[at..to].to_vec();
                        let into = random.below(chars.len());
                        drop(chars.splice(into..into, line));
                    }
                }
            }
            let text: String = chars.into_iter().collect();
            match Study::parse(&text, name, &Overrides::new()) {
                Ok(_) => good += 1,
                Err(e) => {
                    bad += 1;
                    assert!(!e.message().is_empty() && e.to_string().contains("error"), "{e}");
                    let _ = (e.render(true), gradus::Error::from(e));
                }
            }
        }
    }
    assert!(good > 50 && bad > 50, "{good} read, {bad} refused");
}

#[test]
fn no_flag_makes_the_parser_panic() {
    let mut random = Random(2);
    let keys = [
        "train",
        "arm",
        "net1",
        "left",
        "layers",
        "0",
        "optimizer",
        "lr",
        "loss",
        "target",
        "kind",
        "data",
        "source",
        "from",
        "x",
        "é",
    ];
    let values = [
        "1",
        "x",
        "[1, 2]",
        "{ a = 1 }",
        "\"SGD lr=1\"",
        "false",
        "[",
        "",
        "é",
        "1e999",
        "'",
        "2021-01-01",
        "Adam lr=1",
    ];
    for _ in 0..3000 {
        let path: Vec<&str> = (0..1 + random.below(6)).map(|_| keys[random.below(keys.len())]).collect();
        let flag = format!("{}={}", path.join("."), values[random.below(values.len())]);
        match Overrides::parse([&flag]).and_then(|o| Study::parse(builtin::find("pairs").unwrap(), "pairs.toml", &o)) {
            Ok(_) => {}
            Err(e) => assert!(!e.to_string().is_empty(), "{flag}"),
        }
    }
}

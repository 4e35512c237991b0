//! The program as a user meets it: the real binary, in folders of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

/// An empty folder to work in, which goes away with its value.
struct Home(PathBuf);

impl Home {
    fn new() -> Home {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("gradus-cli-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Home(path)
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gradus"));
        command.args(line.split_whitespace()).current_dir(&self.0).env_remove("NO_COLOR");
        command
    }

    /// Runs a command line whose words have no blanks in them.
    fn run(&self, line: &str) -> Ran {
        Ran::new(line, self.command(line).output().unwrap())
    }

    /// The one JSON document of a command that succeeds.
    fn json(&self, line: &str) -> Value {
        self.run(line).ok().json()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.file(name), text).unwrap();
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.file(name)).unwrap()
    }

    fn files(&self) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(&self.0).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What a command did.
struct Ran {
    line: String,
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ran {
    fn new(line: &str, output: Output) -> Ran {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let ran = Ran {
            line: line.to_string(),
            code: output.status.code(),
            out: text(output.stdout),
            err: text(output.stderr),
        };
        assert!(!ran.err.contains("panicked"), "{line}: {}", ran.err);
        assert!(!format!("{}{}", ran.out, ran.err).contains('\u{1b}'), "{line}: colours where there is no terminal");
        ran
    }

    fn ok(self) -> Ran {
        assert_eq!(self.code, Some(0), "{}: {}{}", self.line, self.out, self.err);
        self
    }

    /// It failed with this exit code, one error, and these words in it.
    fn fails(self, code: i32, words: &str) {
        assert_eq!(self.code, Some(code), "{}: {}{}", self.line, self.out, self.err);
        assert!(self.err.contains(words), "{}: expected {words:?} in\n{}", self.line, self.err);
        assert_eq!(self.err.lines().filter(|l| l.starts_with("error: ")).count(), 1, "{}: {}", self.line, self.err);
    }

    /// All of standard output is one document.
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{}: {e}: {}", self.line, self.out))
    }

    fn says(&self, words: &[&str]) {
        for w in words {
            assert!(self.out.contains(w), "{}: expected {w:?} in\n{}", self.line, self.out);
        }
    }
}

const TINY: &str = "train disk --epochs 3 --set data.train=60 --set data.test=40";

const TABLE: &str = r#"
title = "A table"
seed = 5
[data]
source = "csv"
file = "table.csv"
validation = 20
[train]
epochs = 8
batch = 10
keep = "best"
optimizer = "Adam lr=0.02"
schedule = "StepLR 3"
[arm.plain]
net = { from = "x", layers = ["Linear 8", "ReLU", "Dropout 0.1", "Linear 2"] }
aux = { from = "net:1", layers = ["Linear 2"] }
loss.kind = { of = "net", kind = "CrossEntropyLoss" }
loss.aux = { of = "aux", kind = "CrossEntropyLoss", weight = 0.5 }
[arm.same]
base = "plain"
train.batch = 20
"#;

/// A folder with a table, its features alone, and a study of it.
fn table() -> Home {
    let home = Home::new();
    let (mut rows, mut features) = (String::from("a,b,kind\n"), String::from("a,b\n"));
    for i in 0..150 {
        let (a, b) = (f64::from(i * 37 % 101) + 300.0, f64::from(i * 53 % 97) / 97.0);
        rows += &format!("{a},{b},{}\n", if (a - 300.0) / 101.0 > b { "more" } else { "less" });
        features += &format!("{a},{b}\n");
    }
    home.write("table.csv", &rows);
    home.write("x.csv", &features);
    home.write("table.toml", TABLE);
    home
}

#[test]
fn every_command_has_help_with_an_example() {
    let home = Home::new();
    let help = home.run("--help").ok();
    let commands = "train eval predict inspect plan explain check new list help schema completions";
    for command in commands.split(' ') {
        help.says(&[command]);
        home.run(&format!("{command} --help")).ok().says(&["Example", "Usage: gradus"]);
    }
    home.run("help").ok().says(&["Usage: gradus", "Conv2d", "train.epochs"]);
    home.run("help train").ok().says(&["Usage: gradus train", "clip_norm"]);
    home.run("help Linear").ok().says(&["out_features"]);
    home.run("help Liner").fails(2, "did you mean `Linear`");
    home.run("help inspekt").fails(2, "did you mean `inspect`");
    let bare = home.run("");
    assert_eq!((bare.code, bare.err.contains("Usage: gradus <COMMAND>")), (Some(2), true));
    assert_eq!(home.files(), [""; 0]);
}

#[test]
fn built_in_names_train_in_an_empty_folder() {
    let home = Home::new();
    let ran = home.run(&format!("{TINY} --json")).ok();
    let d = ran.json();
    assert_eq!(
        (&d["study"], &d["arm"], &d["epochs"], &d["model"]),
        (&"disk".into(), &"relu".into(), &3.into(), &Value::Null)
    );
    assert!(d["seed"].is_u64() && d["metrics"]["test accuracy"].is_f64() && d["metrics"]["train loss"].is_f64());
    assert_eq!(d["history"].as_array().unwrap().len(), 3);
    assert!(ran.err.contains("epoch 3/3  loss") && ran.err.contains("accuracy"), "{}", ran.err);
    let plain = home.run(TINY).ok();
    plain.says(&["60 training samples", "epoch 1/3", "test accuracy", "weights of the last epoch, 3"]);
    assert_eq!(plain.err, "");
    assert_eq!(home.run(&format!("{TINY} --quiet")).ok().out, "");
    let pairs = home.json("train pairs --arm net2 --epochs 1 --set data.train=20 --set data.test=20 --json --quiet");
    assert_eq!((&pairs["arm"], &pairs["epochs"]), (&"net2".into(), &1.into()));
    assert_eq!(home.files(), [""; 0]);
}

#[test]
fn the_same_command_gives_the_same_bits() {
    let home = Home::new();
    for (name, more) in [("a", ""), ("b", "--threads 2"), ("c", "--seed 9")] {
        home.run(&format!("{TINY} --save {name}.safetensors --quiet {more}")).ok();
    }
    assert_eq!(home.bytes("a.safetensors"), home.bytes("b.safetensors"));
    assert_ne!(home.bytes("a.safetensors"), home.bytes("c.safetensors"));
    assert_eq!(home.files(), ["a.safetensors", "b.safetensors", "c.safetensors"]);
}

#[test]
fn what_is_saved_evaluates_predicts_and_shows() {
    let home = table();
    let trained = home.json("train table.toml --save m.safetensors --json --quiet");
    assert_eq!(trained["model"], "m.safetensors");
    let evaluated = home.json("eval m.safetensors --json");
    for name in ["test accuracy", "test loss", "test accuracy of aux"] {
        assert!(trained["metrics"][name].is_f64());
        assert_eq!(trained["metrics"][name], evaluated["metrics"][name]);
    }
    for (part, metric) in [("train", "train error"), ("validation", "validation loss")] {
        let e = home.json(&format!("eval m.safetensors --data table.toml --part {part} --json"));
        assert_eq!(trained["metrics"][metric], e["metrics"][metric]);
    }

    // All rows of the table: what it predicts is as often right as `eval` says.
    home.run("predict m.safetensors --input x.csv --output y.csv").ok().says(&[
        "output net (150, 2)",
        "not written: aux",
        "normalised",
    ]);
    let labels = fs::read_to_string(home.file("table.csv")).unwrap();
    let outputs = fs::read_to_string(home.file("y.csv")).unwrap();
    let right = |(label, output): (&str, &str)| {
        let (less, more) = output.split_once(',').unwrap();
        let more = more.parse::<f64>().unwrap() > less.parse::<f64>().unwrap();
        label.ends_with(if more { "more" } else { "less" })
    };
    let right = labels.lines().skip(1).zip(outputs.lines()).filter(|pair| right(*pair)).count();
    let e = home.json("eval m.safetensors --data table.csv --json");
    assert_eq!(e["samples"], 150);
    assert_eq!(e["metrics"]["test accuracy"].as_f64().unwrap(), 100.0 * right as f64 / 150.0);

    let both = home.json("predict m.safetensors --input x.csv --output out --json");
    assert_eq!(both["outputs"][1]["file"], "out/aux.npy");
    assert!(home.file("out/net.npy").is_file() && home.file("out/aux.npy").is_file());
    home.run("predict m.safetensors --input x.csv --output z.csv --prepared").ok().says(&["as they are"]);
    assert_ne!(home.bytes("y.csv"), home.bytes("z.csv"));

    let inspect = home.run("inspect m.safetensors").ok();
    inspect.says(&[
        "a model of",
        "net.0  Linear 8",
        "net.0.weight",
        "mean",
        "study",
        "CrossEntropyLoss of aux",
        "normalisation\n  x: (x − mean) / sd",
    ]);
    let d = home.json("inspect m.safetensors --json");
    assert_eq!((&d["notes"]["arm"], &d["notes"]["seed"], &d["kind"]), (&"plain".into(), &5.into(), &"model".into()));
    assert_eq!(d["arrays"][0]["name"], "net.0.weight");
    assert_eq!(d["notes"]["kept"]["epoch"], trained["kept"]);
    for command in ["plan", "explain", "explain --predict", "check"] {
        home.run(&format!("{command} m.safetensors")).ok();
    }
    home.run("plan m.safetensors --arm plain").fails(2, "`--arm` and `--set` are for studies");
}

#[test]
fn a_model_is_a_start_with_its_own_normalisation() {
    let home = table();
    home.run("train table.toml --save m.safetensors --quiet").ok();
    let scale = |file: &str| home.json(&format!("inspect {file} --json"))["normalisation"].clone();
    home.run("train table.toml --seed 6 --epochs 1 --from m.safetensors --save n.safetensors")
        .ok()
        .says(&["from the weights of m.safetensors"]);
    assert_eq!(scale("m.safetensors"), scale("n.safetensors"));
    home.run("train table.toml --seed 6 --epochs 1 --save o.safetensors").ok();
    assert_ne!(scale("m.safetensors"), scale("o.safetensors"));
    home.run("train disk --from m.safetensors").fails(2, "the model was made for the data x 2");
    home.run("train table.toml --set arm.plain.net.layers.0=Linear_9 --from m.safetensors").fails(2, "Linear_9");
}

/// Ctrl-C during a training of many epochs; returns after which one it ended.
#[cfg(unix)]
fn interrupt(home: &Home, line: &str, signal: &str) -> usize {
    let mut child = home.command(line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Ctrl-C is listened for when the first checkpoint is written, before the first epoch.
    while !home.file("m.ckpt").exists() {
        assert_eq!(child.try_wait().unwrap(), None, "{line}: ended");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    std::thread::sleep(std::time::Duration::from_millis(100));
    let kill = Command::new("sh").args(["-c", &format!("kill {signal} {}", child.id())]).status().unwrap();
    assert!(kill.success());
    let ran = Ran::new(line, child.wait_with_output().unwrap());
    assert_eq!(ran.code, Some(130), "{}{}", ran.out, ran.err);
    assert!(ran.err.contains(&format!("  gradus {line} --from m.ckpt\n")), "{}", ran.err);
    let (_, rest) = ran.err.split_once("after epoch ").unwrap();
    rest.split_once('.').unwrap().0.parse().unwrap()
}

#[cfg(unix)]
#[test]
fn interrupted_and_resumed_is_the_same_to_the_bit() {
    let home = table();
    let done = interrupt(&home, "train table.toml --epochs 4000000 --save m.safetensors", "-INT");
    home.run("inspect m.ckpt").ok().says(&["a checkpoint of", &format!("epoch {done} of 4000000")]);
    let epochs = done + 7;
    home.run("train table.toml --from m.ckpt --seed 6").fails(2, "the checkpoint was made with seed 5");
    home.run("train table.toml --arm same --from m.ckpt").fails(2, "other training settings");
    home.run("train table.toml --set data.test=10 --from m.ckpt").fails(2, "other data");
    let resumed =
        home.run(&format!("train table.toml --epochs {epochs} --save m.safetensors --from m.ckpt --json")).ok();
    assert!(resumed.err.contains(&format!("going on from m.ckpt after epoch {done}")), "{}", resumed.err);
    assert_eq!(resumed.json()["history"].as_array().unwrap().len(), epochs);
    home.run(&format!("train table.toml --epochs {epochs} --save whole.safetensors --quiet")).ok();
    assert_eq!(home.bytes("m.safetensors"), home.bytes("whole.safetensors"));
    assert!(!home.file("m.ckpt").exists(), "it is removed when the training has ended");
}

#[cfg(unix)]
#[test]
fn a_checkpoint_of_another_training_is_kept() {
    let home = table();
    interrupt(&home, "train table.toml --epochs 4000000 --save m.safetensors", "-TERM");
    let checkpoint = home.bytes("m.ckpt");
    let ran = home.run("train table.toml --epochs 1 --save m.safetensors").ok();
    assert!(ran.err.contains("it is now m.old.ckpt"), "{}", ran.err);
    assert_eq!(home.bytes("m.old.ckpt"), checkpoint);
}

#[test]
fn plans_and_programs_are_shown() {
    let home = Home::new();
    let plan = home.run("plan pairs --arm net2 --batch 10").ok();
    plan.says(&["batches of 10", "right.0", "those of left", "Conv2d 16 3", "stepwise", "fused", "predict"]);
    let d = home.json("plan r4-aux --arm net1_aux --json");
    assert!(d["memory"][0]["peak_bytes"].as_u64() > d["memory"][2]["peak_bytes"].as_u64());
    let flops = |row: &Value| row["forward_flops"].as_u64().unwrap();
    assert_eq!(d["layers"].as_array().unwrap().iter().map(flops).sum::<u64>(), flops(&d["total"]));
    home.run("plan disk --memory").ok().says(&["work 0+"]);
    let explain = home.run("explain pairs --arm net2").ok();
    explain.says(&[
        "forward\n",
        "loss\n",
        "backward\n",
        "update\n",
        "uses the weights of left",
        "p −= ",
        "left.0 = conv2d(",
    ]);
    explain.says(&["d x is the derivative", "  loss "]);
    let predict = home.run("explain pairs --arm net2 --predict").ok();
    for word in ["backward\n", "update\n", "derivative", "loss", "target"] {
        assert!(!predict.out.contains(word), "{word}: {}", predict.out);
    }
}

#[test]
fn gradients_are_checked() {
    let home = Home::new();
    home.run("check disk --arm tanh").ok().says(&[
        "net.0: weight",
        "loss.",
        "the network as a whole",
        "passed: worst relative error",
    ]);
    let ran = home.run("check disk --arm tanh --tolerance 1e-300 --json");
    assert_eq!((ran.code, ran.json()["passed"].as_bool()), (Some(1), Some(false)));
    assert!(ran.json()["worst"]["what"].is_string());
}

#[test]
fn a_new_study_is_there_to_edit() {
    let home = Home::new();
    home.run("new mine --from pairs").ok().says(&["mine.toml"]);
    home.run("plan mine.toml --arm net2").ok();
    let before = home.bytes("mine.toml");
    home.run("new mine").fails(2, "there already");
    assert_eq!(home.bytes("mine.toml"), before);
    home.run("new ../mine").fails(2, "a name is");
    home.run("new other --from pears").fails(2, "did you mean `pairs`");
    assert_eq!(home.files(), ["mine.toml"]);
}

#[test]
fn lists_are_printed() {
    let home = Home::new();
    home.run("list").ok().says(&[
        "pairs",
        "net2",
        "Conv2d",
        "CrossEntropyLoss",
        "Adam",
        "CosineAnnealingLR",
        "kaiming_normal",
        "mnist-pairs",
    ]);
    let d = home.json("list --json");
    assert!(
        d["studies"].as_array().unwrap().iter().any(|s| s["name"] == "disk" && s["arms"].as_array().unwrap().len() > 1)
    );
    assert!(home.json("schema")["$defs"].is_object());
    home.run("completions bash").ok().says(&["_gradus", "predict"]);
}

#[test]
fn mistakes_are_told_once() {
    let home = table();
    home.write("nan.csv", "a,b,kind\n1,NaN,less\n");
    home.write("wide.csv", "1,2,3\n");
    home.write("bad.toml", &TABLE.replace("batch = 10", "bach = 10"));
    home.write("layer.toml", &TABLE.replace("\"ReLU\"", "\"RelLU\""));
    home.write("not.safetensors", "{}");
    home.run("train table.toml --epochs 1 --save m.safetensors --quiet").ok();
    for (line, words) in [
        ("train dsik", "did you mean `disk`"),
        ("train nothing.toml", "nothing.toml: there is no such file"),
        ("train .", "this is a folder"),
        ("train table", "did you mean `table.toml`"),
        ("train disk.toml", "did you mean `disk`"),
        ("train disk --arm rleu", "did you mean `relu`"),
        ("train bad.toml", "--> bad.toml:10:1"),
        ("train bad.toml", "did you mean `batch`"),
        ("explain layer.toml", "^^^^^"),
        ("train disk --set train.epohcs=3", "--> --set:1:7"),
        ("train disk --set epochs", "expected `key=value`"),
        ("train disk --epochs 0", "`epochs`"),
        ("train disk --threads 0", "0 threads"),
        ("train disk --threads -1", "--threads"),
        ("train disk --seed x", "--seed"),
        ("train disk --save no/m.safetensors", "there is no folder no"),
        ("train disk --save .", "this is a folder"),
        ("train table.toml --save table.toml", "a file that is no model is there"),
        ("train disk --save table.csv/m.safetensors", "there is no folder"),
        ("train disk --from none.ckpt", "none.ckpt: "),
        ("train disk --from table.csv", "not a model file"),
        ("train disk --checkpoint-every 2", "--save"),
        ("train disk --set data.train=5 --set data.validation=5", "validation"),
        ("eval none.safetensors", "none.safetensors: "),
        ("eval not.safetensors", "not a model file"),
        ("eval m.safetensors --data nan.csv", "line 2, column 2"),
        ("eval m.safetensors --data disk --part validation", "no validation samples"),
        ("eval m.safetensors --data none.csv", "none.csv"),
        ("eval m.safetensors --data mnist", "(2)"),
        ("predict m.safetensors --input none.npy --output y.npy", "none.npy"),
        ("predict m.safetensors --input wide.csv --output y.npy", "samples of (2)"),
        ("predict m.safetensors --input x.csv --output y.txt", ".npy or .csv"),
        ("predict m.safetensors --input x.txt --output y.npy", ".npy or .csv"),
        ("predict m.safetensors --input x.csv --output ./x.csv", "is the input"),
        ("predict m.safetensors --input x.csv --output no/y.csv", "there is no folder no"),
        ("inspect table.toml", "not a model file"),
        ("plan none", "no such file"),
        ("plan disk --batch 0", "--batch"),
        ("check none", "no such file"),
        ("completions cmd", "possible values"),
        ("tarin disk", "train"),
    ] {
        home.run(line).fails(2, words);
    }
    home.run("train disk --set train.optimizer.lr=1e9 --save d.safetensors").fails(3, "diverged at epoch 1");
    let made = [
        "bad.toml",
        "layer.toml",
        "m.safetensors",
        "nan.csv",
        "not.safetensors",
        "table.csv",
        "table.toml",
        "wide.csv",
        "x.csv",
    ];
    assert_eq!(home.files(), made);
}

#[test]
fn a_name_in_a_model_file_is_no_path() {
    let home = table();
    home.run("train table.toml --epochs 1 --save m.safetensors --quiet").ok();
    let mut bytes = home.bytes("m.safetensors");
    // In the JSON inside of the JSON: the branch `aux`.
    let (old, new) = (br#"\"aux\""#, br#"\"../\""#);
    let places: Vec<usize> = (0..bytes.len() - old.len()).filter(|i| bytes[*i..].starts_with(old)).collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at..at + new.len()].copy_from_slice(new);
    }
    fs::write(home.file("evil.safetensors"), bytes).unwrap();
    home.run("predict evil.safetensors --input x.csv --output out").fails(2, "a name is");
    assert!(!home.file("out").exists() && !Path::new(&home.file("..npy")).exists());
}

#[test]
fn warnings_are_told() {
    let home = Home::new();
    let ran = home.run(&format!("{TINY} --set arm.relu.init=zeros --quiet")).ok();
    assert!(ran.err.contains("warning: epoch 1: all ReLUs of layer `net.1` are dead"), "{}", ran.err);
    home.write("ones.csv", "a,b,kind\n1,2,x\n1,3,x\n1,4,x\n1,5,y\n1,7,x\n1,8,y\n1,9,x\n");
    home.write(
        "ones.toml",
        &TABLE.replace("table.csv", "ones.csv").replace("validation = 20", "").replace("keep = \"best\"", ""),
    );
    let ran = home.run("train ones.toml --quiet").ok();
    assert!(
        ran.err.contains("warning: input \"x\": the same value in every training sample: feature 0"),
        "{}",
        ran.err
    );
}

#[test]
fn what_changes_nothing_is_told() {
    let home = Home::new();
    let err = |line: &str| home.run(line).ok().err;
    let line = "--set train.optimizer.lr=0.5 changes nothing in arm net1_published";
    assert!(err("plan r4-aux --arm net1_published --set train.optimizer.lr=0.5").contains(line));
    assert_eq!(err("plan pairs --arm net2 --set train.optimizer.lr=0.5 --set data.train=20"), "");
    let ran = err(&format!("{TINY} --set arm.relu.net.layers=[] --quiet"));
    assert!(ran.contains("warning: nothing is trained"), "{ran}");
}

#[test]
fn nobody_has_to_read() {
    let home = Home::new();
    for line in ["list", "help", "train disk --epochs 50", "explain disk", "schema"] {
        let mut child = home.command(line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let ran = Ran::new(line, child.wait_with_output().unwrap());
        assert_eq!((ran.code, &*ran.err), (Some(0), ""), "{line}");
    }
}

/// What the system says of a process that has not ended, in KiB: `VmHWM`, `RssFile`.
#[cfg(target_os = "linux")]
fn kib(status: &str, what: &str) -> u64 {
    let line = status.lines().find(|l| l.starts_with(what)).unwrap_or_else(|| panic!("no {what}: {status}"));
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn a_training_takes_little_memory() {
    use std::io::{BufRead, BufReader};
    let home = Home::new();
    let mut child = home.command("train pairs --arm net1 --epochs 200").stdout(Stdio::piped()).spawn().unwrap();
    let mut most = 0;
    // When the samples are there, and when they were trained on and the network evaluated; then we have seen enough.
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        // The most that was there at any time, without the pages of the program's file.
        most = most.max(kib(&status, "VmHWM") - kib(&status, "RssFile"));
        if line.unwrap().starts_with("epoch ") {
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // In MB: 8 are the digits while samples are drawn from them, 3 the samples, 6 what the network computes in.
    assert!((8 << 10..14 << 10).contains(&most), "{most} KiB");
}

#[test]
fn bench_measures_steps_and_predictions() {
    let home = Home::new();
    let report = home.json("bench W1 W6-disk-1 --json");
    assert!(report["peak_gflops"].as_f64().unwrap() > 0.0);
    let rows = report["workloads"].as_array().unwrap();
    let names: Vec<&str> = rows.iter().map(|r| r["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["W1", "W6-disk-1"]);
    for row in rows {
        let number = |key: &str| row[key].as_f64().unwrap_or_else(|| panic!("{key}: {row}"));
        assert!(number("fastest") <= number("seconds") && number("seconds") <= number("slowest"));
        assert!(number("gflops") > 0.0 && number("share_of_peak") > 0.0 && number("bytes") > 0.0);
        assert_eq!(number("allocations"), 0.0);
    }
    assert!(home.run("bench W6").out.lines().filter(|l| l.contains("W6-")).count() == 4);
    let ran = home.run("bench W7");
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("there is no workload `W7`; did you mean `W1`?"), "{}", ran.err);
}

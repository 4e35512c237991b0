//! `gradus list`.

use clap::Args;
use gradus::Registry;
use gradus::data::augment::TRANSFORMS;
use gradus::init::Init;
use gradus::optim::OPTIMIZERS;
use gradus::train::SCHEDULES;
use gradus_study::{Overrides, Source};
use serde::Serialize;

use crate::failure::Outcome;
use crate::print::{self, Align};

/// List the built-in studies, and the layers, losses and so on that a study can name
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  gradus list\n\n`gradus help NAME` has a page about each layer, loss, optimiser, schedule and key."
)]
pub struct List {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// All there is, by kind.
#[derive(Serialize)]
struct Everything {
    studies: Vec<Study>,
    data: Vec<Thing>,
    layers: Vec<Thing>,
    losses: Vec<Thing>,
    optimizers: Vec<Thing>,
    schedules: Vec<Thing>,
    transforms: Vec<Thing>,
    initialisers: Vec<Thing>,
}

#[derive(Serialize)]
struct Study {
    name: &'static str,
    title: String,
    arms: Vec<String>,
}

#[derive(Serialize)]
struct Thing {
    name: &'static str,
    summary: &'static str,
}

impl Everything {
    fn find() -> Outcome<Everything> {
        let thing = |(name, summary)| Thing { name, summary };
        let registry = Registry::new();
        let mut studies = Vec::new();
        for (name, text) in gradus_study::builtin::list() {
            let study = gradus_study::Study::parse(text, &format!("{name}.toml"), &Overrides::new())?;
            studies.push(Study { name, title: study.title, arms: study.arms.into_keys().collect() });
        }
        Ok(Everything {
            studies,
            data: Source::ALL.iter().map(|s| thing((s.name(), s.about().lines().next().unwrap_or_default()))).collect(),
            layers: registry.layers().iter().map(|d| thing((d.name, d.summary))).collect(),
            losses: registry.losses().iter().map(|d| thing((d.name, d.summary))).collect(),
            optimizers: OPTIMIZERS.iter().map(|d| thing((d.name, d.summary))).collect(),
            schedules: SCHEDULES.iter().map(|d| thing((d.name, d.summary))).collect(),
            transforms: TRANSFORMS.iter().map(|d| thing((d.name, d.summary))).collect(),
            initialisers: Init::ALL.iter().map(|(name, _, what)| thing((*name, *what))).collect(),
        })
    }
}

impl List {
    /// Does it.
    pub fn run(&self) -> Outcome {
        let all = Everything::find()?;
        if self.json {
            return print::json(&all);
        }
        let studies = all.studies.iter().map(|s| vec![s.name.to_string(), s.title.clone()]);
        let mut text = String::from("studies (gradus train NAME --arm ARM)\n");
        let titles = print::table(&[Align::Left; 2], &studies.collect::<Vec<_>>());
        let width = all.studies.iter().map(|s| s.name.len()).max().unwrap_or(0);
        for (line, study) in titles.lines().zip(&all.studies) {
            text += &format!("  {line}\n  {:width$}  arms: {}\n", "", study.arms.join(", "));
        }
        let kinds = [
            ("data sources", &all.data),
            ("layers", &all.layers),
            ("losses", &all.losses),
            ("optimisers", &all.optimizers),
            ("schedules", &all.schedules),
            ("transforms", &all.transforms),
            ("initialisers", &all.initialisers),
        ];
        for (kind, things) in kinds {
            let rows: Vec<_> = things.iter().map(|t| vec![t.name.to_string(), t.summary.to_string()]).collect();
            text += &format!("\n{kind}\n{}", print::indented(&print::table(&[Align::Left; 2], &rows)));
        }
        text += "\n`gradus help NAME` explains each of them.\n";
        print::text(&text)
    }
}

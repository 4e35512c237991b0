//! Writes the report of a study, and its plots where a folder is named:
//! `cargo run -p gradus-report --example page -- runs/pairs report.html figures`.

use std::path::PathBuf;

use gradus_record::Store;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(dir), Some(out)) = (words.next(), words.next()) else {
        return Err("expected the folder of a study and the file to be written".into());
    };
    let store = Store::open_read(&dir)?;
    let summary = gradus_report::summary(&store)?;
    gradus_report::write_page(&store, &summary, &out)?;
    if let Some(folder) = words.next() {
        let files = gradus_report::write_figures(&store, &summary, &folder)?;
        println!("{} and {} files in {}", out.display(), files.len(), folder.display());
    }
    Ok(())
}

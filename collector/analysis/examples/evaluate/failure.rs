//! `evaluate failure --data DIR --out FILE [--part statistical|echo] [--seed N]`: DIR holds train.csv and
//! test.csv. Says what cross-validation on the training units found, and what training and predicting cost.

use std::time::Instant;

use fettle_analysis::eval::failure as eval;
use fettle_analysis::predict::Settings;

use crate::Arguments;

pub fn run(arguments: &Arguments) -> Result<(), String> {
    let read = |name: &str| {
        let path = arguments.data.join(name);
        std::fs::read_to_string(&path).map_err(|e| format!("can't read {}: {e}", path.display()))
    };
    let (train, test) = (read("train.csv")?, read("test.csv")?);
    let seed = arguments.option("--seed").map_or(Ok(Settings::default().seed), str::parse);
    let settings = Settings { seed: seed.map_err(|_| "--seed needs a whole number")?, ..Settings::default() };
    let part = match arguments.option("--part") {
        None => eval::Part::Blend,
        Some("statistical") => eval::Part::Statistical,
        Some("echo") => eval::Part::Echo,
        Some(other) => return Err(format!("there is no part «{other}»: say statistical or echo")),
    };
    let begin = Instant::now();
    let model = eval::model(&train, settings).map_err(|e| e.to_string())?;
    let trained = begin.elapsed();
    let begin = Instant::now();
    let out = eval::predictions(&model, &test, part).map_err(|e| e.to_string())?;
    let each = begin.elapsed().as_secs_f64() * 1e6 / out.lines().count() as f64;
    eprint!("{}", eval::report(&model));
    let size = serde_json::to_vec(&model).map_err(|e| e.to_string())?.len();
    eprintln!("a model takes {} KiB as JSON", size / 1024);
    eprintln!("trained in {:.2} s, {each:.1} µs a prediction", trained.as_secs_f64());
    std::fs::write(&arguments.out, out).map_err(|e| format!("can't write {}: {e}", arguments.out.display()))
}

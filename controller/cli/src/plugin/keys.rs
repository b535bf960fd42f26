//! `iaso plugin keygen`, `sign` and `verify`.

use super::args::{KeygenArgs, SignArgs, VerifyArgs};
use super::{files, inspect};
use crate::args::{Format, Global};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::text::Text;
use crate::{output, render};
use iaso_package::{SecretKey, Trust, look};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A new pair of keys.
#[derive(Debug, Serialize)]
struct Generated {
    id: String,
    public_key: String,
    secret_key_file: PathBuf,
    public_key_file: PathBuf,
}

/// Draws a pair of keys.
pub(super) fn generate(global: &Global, what: &KeygenArgs) -> Result<Exit, Failure> {
    let mut seed = zeroize::Zeroizing::new([0_u8; 32]);
    getrandom::fill(seed.as_mut_slice()).map_err(|error| {
        Failure::Plugin(format!("this machine gives no random numbers: {error}"))
    })?;
    let key = SecretKey::from_seed(&seed);
    let (secret, public) = (ending(&what.name, "key"), ending(&what.name, "pub"));
    // A public key without its secret half would be trusted for nothing.
    if public.exists() {
        return Err(Failure::Plugin(format!(
            "{} exists, and nothing is overwritten: give another name, or remove it",
            public.display()
        )));
    }
    files::create(&secret, 0o600, key.to_text().as_bytes())?;
    files::create(&public, 0o644, format!("{}\n", key.public()).as_bytes())?;
    let made = Generated {
        id: key.public().id(),
        public_key: key.public().to_string(),
        secret_key_file: secret,
        public_key_file: public,
    };
    show(global, &made, |made| {
        format!(
            "key {}\n  secret  {} (mode 0600: keep it to yourself, and a copy of it where no fire reaches)\n  public  {} (give it to those who run your plugins)\n  {}\n",
            made.id,
            made.secret_key_file.display(),
            made.public_key_file.display(),
            made.public_key
        )
    })?;
    Ok(Exit::Ok)
}

/// A signature that was made.
#[derive(Debug, Serialize)]
struct Signed {
    plugin: String,
    version: String,
    digest: String,
    key: String,
    signature_file: PathBuf,
}

/// Signs a component that says what it is.
pub(super) fn sign(global: &Global, what: &SignArgs) -> Result<Exit, Failure> {
    let bytes = files::component(&what.file)?;
    let looked = look(&bytes).map_err(|error| inspect::not_a_plugin(&what.file, &error))?;
    let manifest = match &looked.manifest {
        Some(Ok(manifest)) => manifest,
        Some(Err(bad)) => {
            return Err(Failure::Plugin(format!("{}: {bad}", what.file.display())));
        }
        None => {
            return Err(Failure::Plugin(format!(
                "{} has no manifest, so that nobody could tell which plugin and version was signed: `iaso plugin pack` adds it",
                what.file.display()
            )));
        }
    };
    if let Some(problem) = looked.problems().first() {
        return Err(Failure::Plugin(format!(
            "{} would be refused by an agent, and is not signed: {problem}",
            what.file.display()
        )));
    }
    let key = files::secret_key(&what.key)?;
    let signature = iaso_package::sign(&bytes, &key);
    let out = what
        .out
        .clone()
        .unwrap_or_else(|| files::signature_path(&what.file));
    files::replace(&out, signature.to_text().as_bytes())?;
    let signed = Signed {
        plugin: manifest.name.clone(),
        version: manifest.version.to_string(),
        digest: looked.digest,
        key: key.public().id(),
        signature_file: out,
    };
    show(global, &signed, |signed| {
        format!(
            "signed {} {} with the key {}: {}\n",
            signed.plugin,
            signed.version,
            signed.key,
            signed.signature_file.display()
        )
    })?;
    Ok(Exit::Ok)
}

/// Whether a signature is believed.
#[derive(Debug, Serialize)]
struct Verified {
    trusted: bool,
    plugin: Option<String>,
    version: Option<String>,
    why: Text,
}

/// Judges a component as a controller with these keys would.
pub(super) fn verify(global: &Global, what: &VerifyArgs) -> Result<Exit, Failure> {
    let bytes = files::component(&what.file)?;
    let looked = look(&bytes).map_err(|error| inspect::not_a_plugin(&what.file, &error))?;
    let path = what
        .signature
        .clone()
        .unwrap_or_else(|| files::signature_path(&what.file));
    let signature = if what.signature.is_some() || path.exists() {
        Some(files::signature(&path)?)
    } else {
        None
    };
    let manifest = looked.good_manifest();
    let name = manifest.map(|manifest| manifest.name.clone());
    let mut trust = Trust {
        keys: what
            .keys
            .iter()
            .map(|path| files::trusted_key(path))
            .collect::<Result<_, _>>()?,
        ..Trust::default()
    };
    if let (Some(name), Some(minimum)) = (&name, &what.minimum) {
        trust.minimum.insert(name.clone(), minimum.clone());
    }
    let judged = trust.judge(
        &bytes,
        signature.as_ref(),
        name.as_deref().unwrap_or_default(),
        &BTreeMap::new(),
    );
    let verified = Verified {
        trusted: judged.is_ok(),
        version: manifest.map(|manifest| manifest.version.to_string()),
        plugin: name,
        why: match judged {
            Ok(trusted) => trusted.word.into(),
            Err(refusal) => refusal.to_string().into(),
        },
    };
    show(global, &verified, |verified| {
        let what = match (&verified.plugin, &verified.version) {
            (Some(name), Some(version)) => format!("{name} {version}"),
            _ => "this component".to_owned(),
        };
        let word = if verified.trusted {
            "trusted"
        } else {
            "NOT trusted"
        };
        format!("{what} is {word}: {}\n", verified.why)
    })?;
    Ok(if verified.trusted {
        Exit::Ok
    } else {
        Exit::Wrong
    })
}

/// Prints the JSON or the text.
pub(super) fn show<T: Serialize>(
    global: &Global,
    model: &T,
    text: impl FnOnce(&T) -> String,
) -> Result<(), Failure> {
    output::print(&match global.output {
        Format::Json => render::json(model),
        Format::Table => text(model),
    })
}

fn ending(name: &Path, ending: &str) -> PathBuf {
    let mut path = name.as_os_str().to_owned();
    path.push(".");
    path.push(ending);
    path.into()
}

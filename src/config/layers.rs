//! Where values come from: defaults, a file, the environment, flags; and the nearest name of a key that does not exist.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;

use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::{Config, ConfigError, DEFAULT_TOML, check};

const ENV_PREFIX: &str = "SECKILL__";
const DEFAULT_ORIGIN: &str = "default";

/// What may override the defaults. No Debug: it holds secrets.
#[derive(Clone, Default)]
pub struct Sources {
    /// `--config`
    pub file: Option<PathBuf>,
    /// The environment; variables without our prefix are ignored.
    pub environment: Vec<(OsString, OsString)>,
    /// Flags, in order: key, value, and the flag's name for messages.
    pub flags: Vec<(String, String, &'static str)>,
}

/// A configuration and where each value comes from.
pub struct Loaded {
    /// The values.
    pub config: Config,
    figment: Figment,
}

impl Loaded {
    /// Reads and checks everything.
    ///
    /// # Errors
    /// [`ConfigError`] with every unknown key, else the first value of a wrong type, else every rule that is broken.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let defaults = Layer::from_toml(DEFAULT_ORIGIN, DEFAULT_TOML)?;
        let schema = Schema { keys: keys_of(&defaults.values), defaults: &defaults.values };
        let overrides = schema.overrides(sources)?;

        let unknown: Vec<String> = overrides.iter().flat_map(|layer| schema.unknown_keys(layer)).collect();
        if !unknown.is_empty() {
            return Err(ConfigError { problems: unknown });
        }
        let figment = overrides.iter().fold(Figment::from(&defaults), |figment, layer| figment.merge(layer));
        let config: Config = figment.extract().map_err(wrong_types)?;
        let loaded = Self { config, figment };
        let problems = check::problems(&loaded.config);
        if problems.is_empty() { Ok(loaded) } else { Err(loaded.broken_rules(&problems)) }
    }

    /// The values alone; what the sources held, secrets among it, is dropped.
    pub fn into_config(self) -> Config {
        self.config
    }

    /// Where the value of a key comes from: `default`, a file, a variable, a flag.
    pub fn source(&self, key: &str) -> &str {
        self.figment.find_metadata(key).map_or(DEFAULT_ORIGIN, |metadata| metadata.name.as_ref())
    }

    fn broken_rules(&self, problems: &[check::Problem]) -> ConfigError {
        let line =
            |problem: &check::Problem| format!("{}: {} ({})", problem.key, problem.rule, self.source(problem.key));
        ConfigError { problems: problems.iter().map(line).collect() }
    }
}

fn wrong_types(errors: figment::Error) -> ConfigError {
    let line = |error: figment::Error| {
        let origin = error.metadata.as_ref().map_or("unknown source", |metadata| metadata.name.as_ref());
        format!("{}: {} ({origin})", error.path.join("."), error.kind)
    };
    ConfigError { problems: errors.into_iter().map(line).collect() }
}

/// Values of one origin.
struct Layer {
    origin: String,
    values: Dict,
}

impl Layer {
    fn from_toml(origin: &str, text: &str) -> Result<Self, ConfigError> {
        let table: toml::Table = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            ConfigError::one(format!("{origin}, line {line}: {}", error.message()))
        })?;
        Self::new(origin.to_owned(), &table)
    }

    fn new(origin: String, table: &toml::Table) -> Result<Self, ConfigError> {
        match Value::serialize(table) {
            Ok(Value::Dict(_, values)) => Ok(Self { origin, values }),
            _ => Err(ConfigError::one(format!("{origin}: not a table"))),
        }
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.origin.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

/// The keys that exist, and their types by the defaults' values.
struct Schema<'a> {
    keys: BTreeSet<String>,
    defaults: &'a Dict,
}

impl Schema<'_> {
    fn overrides(&self, sources: &Sources) -> Result<Vec<Layer>, ConfigError> {
        let mut layers = Vec::new();
        if let Some(path) = &sources.file {
            let origin = path.display().to_string();
            let text = std::fs::read_to_string(path)
                .map_err(|error| ConfigError::one(format!("{origin}: cannot be read: {error}")))?;
            layers.push(Layer::from_toml(&origin, &text)?);
        }
        let mut variables: Vec<_> = sources.environment.iter().filter(|(name, _)| is_ours(name)).collect();
        variables.sort();
        for (name, value) in variables {
            layers.push(self.variable(&name.to_string_lossy(), value.to_str())?);
        }
        for (key, value, flag) in &sources.flags {
            layers.push(self.text_layer(key, value, format!("flag {flag}"))?);
        }
        Ok(layers)
    }

    fn variable(&self, name: &str, value: Option<&str>) -> Result<Layer, ConfigError> {
        let value = value.ok_or_else(|| ConfigError::one(format!("environment {name}: not valid UTF-8")))?;
        let key = name[ENV_PREFIX.len()..].to_ascii_lowercase().replace("__", ".");
        self.text_layer(&key, value, format!("environment {name}"))
    }

    /// A layer with one value given as text.
    fn text_layer(&self, key: &str, text: &str, origin: String) -> Result<Layer, ConfigError> {
        let mut value = self.typed(key, text);
        let mut segments = key.rsplit('.');
        let leaf = segments.next().unwrap_or(key);
        let mut table = toml::Table::new();
        table.insert(leaf.to_owned(), value);
        for section in segments {
            value = toml::Value::Table(table);
            table = toml::Table::from_iter([(section.to_owned(), value)]);
        }
        Layer::new(origin, &table)
    }

    /// Reads text as the type of the key's default. What does not fit stays text, and is then refused by that type.
    fn typed(&self, key: &str, text: &str) -> toml::Value {
        let as_text = || toml::Value::String(text.to_owned());
        match find(self.defaults, key) {
            Some(Value::Bool(..)) => text.parse().map_or_else(|_| as_text(), toml::Value::Boolean),
            Some(Value::Num(..)) => text.parse().map_or_else(|_| as_text(), toml::Value::Integer),
            Some(Value::Array(..)) => match serde_json::from_str(text) {
                Ok(list @ toml::Value::Array(_)) => list,
                _ => as_text(),
            },
            _ => as_text(),
        }
    }

    fn unknown_keys(&self, layer: &Layer) -> Vec<String> {
        let unknown = keys_of(&layer.values).into_iter().filter(|key| !self.keys.contains(key));
        unknown.map(|key| format!("{key}: unknown key ({}); {}", layer.origin, self.hint(&key))).collect()
    }

    fn hint(&self, unknown: &str) -> String {
        let prefix = format!("{unknown}.");
        if let Some(inside) = self.keys.iter().find(|key| key.starts_with(&prefix)) {
            return format!("it is a section, with keys such as {inside}");
        }
        let distance = |key: &&String| {
            // The right name in the wrong section is nearer than a similar name in the right one.
            let moved = usize::from(last_segment(key) != last_segment(unknown));
            (moved, strsim::damerau_levenshtein(key, unknown))
        };
        let by_spelling = self.keys.iter().min_by_key(|key| strsim::damerau_levenshtein(key, unknown));
        let close = by_spelling.filter(|key| strsim::damerau_levenshtein(key, unknown) <= 3);
        let nearest = close.or_else(|| self.keys.iter().min_by_key(distance));
        nearest.map_or_else(String::new, |key| format!("did you mean {key}?"))
    }
}

fn is_ours(name: &OsString) -> bool {
    name.to_string_lossy().starts_with(ENV_PREFIX)
}

fn last_segment(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

fn find<'a>(values: &'a Dict, key: &str) -> Option<&'a Value> {
    let mut segments = key.split('.');
    let first = values.get(segments.next()?)?;
    segments.try_fold(first, |value, segment| match value {
        Value::Dict(_, inner) => inner.get(segment),
        _ => None,
    })
}

/// Every key in dotted form; an empty section counts as a key of its own, so that it is checked too.
fn keys_of(values: &Dict) -> BTreeSet<String> {
    fn collect(values: &Dict, prefix: &str, keys: &mut BTreeSet<String>) {
        for (name, value) in values {
            let key = format!("{prefix}{name}");
            match value {
                Value::Dict(_, inner) => collect(inner, &format!("{key}."), keys),
                _ => {
                    keys.insert(key);
                }
            }
        }
    }
    let mut keys = BTreeSet::new();
    collect(values, "", &mut keys);
    keys
}

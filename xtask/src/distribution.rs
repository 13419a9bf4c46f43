//! What `--for` knows of distributions: the names their nodes ask for, and how a node loads the image and goes back.
//! The data is deploy/names.toml, where each name says where it comes from.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::LazyLock;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Distribution {
    /// The command that loads `pause.tar`. It is for one name where it has the word `NAME`.
    load: String,
    /// The command that removes the image, with `NAMES` for all its names.
    remove: String,
    /// How a node is told to ask for another name.
    setting: Option<String>,
    /// What has to be restarted then.
    restart: Option<String>,
    /// The distribution to whose default it leaves the choice.
    runtime: Option<String>,
    /// Whether what loads it reads an archive of one platform alone: `manifest.json`, as Docker's classic image store.
    #[serde(default)]
    one_platform: bool,
    /// The page in deploy/ where steps differ from the others'.
    page: Option<String>,
    asks_for: Vec<Name>,
    // For whoever reads the data.
    #[serde(default, rename = "executed")]
    _executed: bool,
    #[serde(default, rename = "sources")]
    _sources: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Name {
    image: String,
    /// The versions of the distribution that ask for it.
    asked_by: String,
    // For whoever reads the data; here so that no name goes without.
    #[serde(rename = "version")]
    _version: String,
    #[serde(rename = "source")]
    _source: String,
}

static DISTRIBUTIONS: LazyLock<BTreeMap<String, Distribution>> = LazyLock::new(|| {
    let table = include_str!("../../deploy/names.toml");
    toml::from_str(table).unwrap_or_else(|error| panic!("deploy/names.toml: {error}"))
});

/// All of them, by name.
pub fn names() -> impl Iterator<Item = &'static str> {
    DISTRIBUTIONS.keys().map(String::as_str)
}

/// The distribution of a name out of [`names`].
pub fn named(name: &str) -> &'static Distribution {
    &DISTRIBUTIONS[name]
}

/// The table in deploy/README.md. It is too wide for columns that are aligned.
pub fn table() -> String {
    let row = |cells: [&str; 6]| format!("| {} |\n", cells.map(|cell| cell.replace('|', "\\|")).join(" | "));
    let mut text = row(["distribution", "its nodes ask for", "load", "remove", "another name", "then restart"]);
    text += &row(["---"; 6]);
    for (name, distribution) in &*DISTRIBUTIONS {
        let title = match &distribution.page {
            Some(page) => format!("[{name}]({page})"),
            None => name.clone(),
        };
        let [load, remove] = [&distribution.load, &distribution.remove].map(|command| format!("`{command}`"));
        let [setting, restart] =
            [&distribution.setting, &distribution.restart].map(|text| text.as_deref().unwrap_or("–"));
        text += &row([&title, &distribution.asked_for(), &load, &remove, setting, restart]);
    }
    text
}

impl Distribution {
    /// Every name its nodes may ask for.
    pub fn images(&'static self) -> impl Iterator<Item = &'static str> {
        let runtime = self.runtime.as_deref().map(named);
        runtime
            .into_iter()
            .chain([self])
            .flat_map(|distribution| &distribution.asks_for)
            .map(|name| name.image.as_str())
    }

    /// The commands that load the archive under these names, to be pasted into a shell.
    pub fn load(&self, names: &[String]) -> String {
        if !self.load.contains("NAME") {
            return self.load.clone();
        }
        names.iter().map(|name| self.load.replace("NAME", name)).collect::<Vec<_>>().join("\n")
    }

    /// Whether it loads an archive of so many platforms.
    pub fn loads(&self, platforms: usize) -> bool {
        platforms == 1 || !self.one_platform
    }

    /// The command that removes the image under these names.
    pub fn remove(&self, names: &[String]) -> String {
        self.remove.replace("NAMES", &names.join(" "))
    }

    /// The names with who asks for each, a repository said once.
    fn asked_for(&self) -> String {
        let mut text = self.runtime.as_ref().map(|runtime| format!("{runtime}'s, and ")).unwrap_or_default();
        let mut last = "";
        for name in &self.asks_for {
            let (repository, tag) = name.image.rsplit_once(':').unwrap_or((&name.image, "latest"));
            if repository != last {
                text += &format!("{}`{repository}`: ", if last.is_empty() { "" } else { "; " });
            } else {
                text += ", ";
            }
            text += &format!("{tag} ({})", name.asked_by);
            last = repository;
        }
        text
    }
}

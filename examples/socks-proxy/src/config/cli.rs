//! The command line: flags of the keys' names, laid over the file, and what else the
//! program is asked for.

use std::{error::Error, path::PathBuf};

use clap::{
    Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, Subcommand as _, parser::ValueSource,
};

use super::Config;

/// What was said on the command line. It lasts: the file is read again for a reload.
pub struct Cli {
    matches: ArgMatches,
    pub tasks: Tasks,
    /// In the place of serving.
    pub command: Option<Instead>,
}

#[derive(clap::Subcommand)]
pub enum Instead {
    /// Make a line for --users: asks for the password, or reads it from standard input
    Hash(NewUser),
}

#[derive(Args)]
pub struct NewUser {
    /// Whose line it is
    pub name: String,

    /// By bcrypt, which other programs know as well, at this cost of 4 to 14 (each further
    /// one takes twice as long) [default: argon2id]
    #[arg(long, value_name = "COST", value_parser = clap::value_parser!(u32).range(4..=14))]
    pub bcrypt: Option<u32>,
}

#[derive(Args)]
pub struct Tasks {
    /// Read what is not said by flags from this file (TOML): each flag is a key of it,
    /// without the dashes. A flag takes the place of the file's key
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Say whether all of this is good, and end
    #[arg(long)]
    pub check: bool,

    /// Print what is in effect as a file, defaults too and secrets hidden, and end
    #[arg(long)]
    pub print_config: bool,
}

impl Cli {
    /// Ends the program where it asks for help, or cannot be understood.
    pub fn parse() -> Self {
        let matches = command().get_matches();
        let tasks = Tasks::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
        let command = Instead::from_arg_matches(&matches).ok();
        Self {
            matches,
            tasks,
            command,
        }
    }

    /// The file, as it is now, with the flags over it.
    pub fn load(&self) -> Result<Config, Box<dyn Error>> {
        let mut config = match &self.tasks.config {
            Some(file) => Config::read(file)?,
            None => Config::default(),
        };
        config.update_from_arg_matches(&self.matches)?;
        let said = |id: &&clap::Id| {
            self.matches.value_source(id.as_str()) == Some(ValueSource::CommandLine)
        };
        let flags = self.matches.ids().filter(said);
        config.said.flags = flags.map(|id| key(id.as_str())).collect();
        Ok(config)
    }
}

fn command() -> Command {
    let command = Command::new(env!("CARGO_PKG_NAME"))
        .version(env!("CARGO_PKG_VERSION"))
        .about("A SOCKS4, SOCKS4a and SOCKS5 proxy, which serves HTTP CONNECT too");
    let defaults = toml::Table::try_from(Config::default()).unwrap_or_default();
    // For an update nothing is required, and what is not said changes nothing.
    let keys = Config::augment_args_for_update(Command::new("")).mut_args(|arg| {
        let arg = with_default(arg, &defaults);
        switch(arg)
    });
    let keys: Vec<_> = keys.get_arguments().cloned().collect();
    let command = Tasks::augment_args(command).args(keys);
    Instead::augment_subcommands(command)
        .subcommand_required(false)
        .args_conflicts_with_subcommands(true)
}

/// A flag's id, as a key.
fn key(id: &str) -> String {
    id.replace('_', "-")
}

/// `--open`, and `--open=false` where the file says otherwise.
fn switch(arg: Arg) -> Arg {
    if !matches!(arg.get_action(), ArgAction::SetTrue) {
        return arg;
    }
    arg.action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
        .hide_possible_values(true)
        .value_name("false")
}

/// Has the help say the default.
fn with_default(arg: Arg, defaults: &toml::Table) -> Arg {
    let default = match defaults.get(&key(arg.get_id().as_str())) {
        Some(toml::Value::Array(list)) => list
            .first()
            .and_then(toml::Value::as_str)
            .map(str::to_owned),
        Some(toml::Value::String(text)) => Some(text.clone()),
        Some(toml::Value::Integer(number)) => Some(number.to_string()),
        _ => None,
    };
    match (default, arg.get_help()) {
        (Some(default), Some(help)) => {
            let help = format!("{help} [default: {default}]");
            arg.help(help)
        }
        _ => arg,
    }
}

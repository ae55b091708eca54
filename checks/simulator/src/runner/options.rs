/// The part of the real one's command line that a self-hosted runner is driven with.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the real one's")]
pub struct Options {
    pub verb: String,
    pub url: Option<String>,
    pub token: Option<String>,
    pub name: Option<String>,
    pub labels: Option<String>,
    pub work: Option<String>,
    pub group: Option<String>,
    pub unattended: bool,
    pub replace: bool,
    pub ephemeral: bool,
    pub disable_update: bool,
    pub once: bool,
    pub version: bool,
}

impl Options {
    /// Arguments, then the variables `ACTIONS_RUNNER_INPUT_*` for what they leave out.
    pub fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut options = Self::default();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let mut value = || rest.next().cloned().ok_or_else(|| format!("{argument} wants a value"));
            match argument.as_str() {
                "configure" | "run" | "remove" => options.verb.clone_from(argument),
                "--url" => options.url = Some(value()?),
                "--token" => options.token = Some(value()?),
                "--name" => options.name = Some(value()?),
                "--labels" => options.labels = Some(value()?),
                "--runnergroup" => options.group = Some(value()?),
                "--work" => options.work = Some(value()?),
                "--unattended" => options.unattended = true,
                "--replace" => options.replace = true,
                "--ephemeral" => options.ephemeral = true,
                "--disableupdate" => options.disable_update = true,
                "--once" => options.once = true,
                "--version" => options.version = true,
                other => return Err(format!("Unrecognized command-line input arguments: '{other}'")),
            }
        }
        let input = |name: &str| std::env::var(format!("ACTIONS_RUNNER_INPUT_{name}")).ok();
        options.url = options.url.or_else(|| input("URL"));
        options.token = options.token.or_else(|| input("TOKEN"));
        options.name = options.name.or_else(|| input("NAME"));
        options.labels = options.labels.or_else(|| input("LABELS"));
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::Options;

    #[test]
    fn an_argument_that_the_real_one_does_not_know_is_refused() {
        let parse = |arguments: &[&str]| {
            Options::parse(&arguments.iter().map(|argument| (*argument).to_owned()).collect::<Vec<_>>())
        };
        assert!(
            parse(&["configure", "--labels", "a,b", "--unattended"]).is_ok_and(|o| o.verb == "configure")
        );
        assert!(parse(&["configure", "--label", "a"]).is_err());
        assert!(parse(&["configure", "--name"]).is_err());
    }
}

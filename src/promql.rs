//! Limits a PromQL query to the series of one namespace.
//!
//! This module parses the query, adds the matcher `namespace="…"` to every selector, and prints the query. Then it
//! parses the printed query again, to check that every selector has the matcher. It refuses queries that are too long,
//! too deep or too expensive. It also refuses queries that it cannot limit, for example with experimental syntax or
//! with names that need quotes.
//!
//! Prometheus joins the matchers of a selector with AND. So if a user writes a matcher for another namespace, the
//! selector has both matchers, and finds no series.

use std::{mem, time::Duration};

use promql_parser::{
    label::{Labels, MatchOp, Matcher},
    parser::{
        AggregateExpr, BinaryExpr, Call, Expr, LabelModifier, SubqueryExpr, VectorMatchCardinality,
        VectorSelector, parse,
    },
    util::unquote_string,
};
use regex::RegexBuilder;

use crate::api::{ExistingAlert, MonitorSpec};

/// The default label that contains the namespace. The configuration of the operator can name another label.
pub const NAMESPACE_LABEL: &str = "namespace";

/// The maximum length of a query, in bytes.
const LENGTH: usize = 8192;

/// The maximum number of operators and brackets. Each of them can add a level to the syntax tree. The functions that
/// visit the tree are recursive, so a deep tree could overflow the stack.
const DEPTH: usize = 256;

/// The maximum number of regular expressions in a query.
const REGEXES: usize = 16;

/// The maximum size of a compiled regular expression, in KiB. The parser itself allows 10 MiB.
const REGEX_KIB: usize = 256;

/// The maximum number of steps of all subqueries of a query. The steps of an inner subquery count once for each step of
/// the outer subquery. Prometheus allows the same number of points for each series of a range query.
const STEPS: u128 = 11_000;

/// The assumed step of a subquery that states no step. For such a subquery, Prometheus uses its evaluation interval,
/// which is one minute by default, and often 15 s.
const DEFAULT_STEP: Duration = Duration::from_secs(15);

/// The operators that consist of letters.
const WORDS: [&str; 4] = ["and", "or", "unless", "atan2"];

/// The reason why a query is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The text is too long.
    #[error("the query is longer than {LENGTH} bytes: shorten it, or record a rule in Prometheus")]
    Long,
    /// The text has too many operators or brackets.
    #[error("the query has more than {DEPTH} operators and brackets: record a part as a rule in Prometheus")]
    Deep,
    /// The query has too many regular expressions, or a regular expression that needs too much memory.
    #[error(
        "the query has more than {REGEXES} regular expressions, or one that needs more than {REGEX_KIB} KiB: use shorter ones"
    )]
    Regex,
    /// The subqueries have too many steps.
    #[error(
        "the subqueries have more than {STEPS} steps, which makes Prometheus slow: use a shorter range or a longer step, such as [1d:5m] (a subquery without a step counts with 15s), or record a rule in Prometheus"
    )]
    Steps,
    /// The text is not PromQL.
    #[error("the query is not valid PromQL: {0}")]
    Syntax(String),
    /// The query has a part that cannot be limited to a namespace.
    #[error("the query uses {0}, which Assent cannot limit to a namespace: rewrite the query without it")]
    Unlimited(String),
}

/// Adds the matcher `LABEL="NAMESPACE"` to every selector of `query`.
///
/// # Errors
/// The query is too large or too expensive, is not valid, or has a part that cannot be limited.
pub fn in_namespace(query: &str, label: &str, namespace: &str) -> Result<String, Refused> {
    check_size(query)?;
    check_regexes(query)?;
    let mut expression = parse(query).map_err(Refused::Syntax)?;
    let matcher = Matcher::new(MatchOp::Equal, label, namespace);
    Walk::new(&mut |selector| {
        selector.matchers.matchers.push(matcher.clone());
        Ok(())
    })
    .through(&mut expression)?;
    let limited = expression.to_string();
    drop(expression);
    // The printer can disagree with the parser. So parse the printed query again, and check that each selector has the
    // matcher.
    let mut again = parse(&limited).map_err(|_| changed())?;
    Walk::new(&mut |selector| {
        if selector.matchers.matchers.contains(&matcher) { Ok(()) } else { Err(changed()) }
    })
    .through(&mut again)?;
    if again.to_string() == limited { Ok(limited) } else { Err(changed()) }
}

fn changed() -> Refused {
    Refused::Unlimited("syntax with more than one meaning".to_owned())
}

fn check_size(query: &str) -> Result<(), Refused> {
    if query.len() > LENGTH {
        return Err(Refused::Long);
    }
    let is_control = |c: char| c.is_control() && !c.is_ascii_whitespace();
    if query.chars().any(is_control) {
        return Err(Refused::Syntax("it contains a control character".to_owned()));
    }
    let signs = query.chars().filter(|c| "+-*/%^<>=!([{,".contains(*c)).count();
    let lower = query.to_ascii_lowercase();
    let words: usize = WORDS.iter().map(|word| lower.matches(word).count()).sum();
    if signs + words > DEPTH { Err(Refused::Deep) } else { Ok(()) }
}

/// Refuses regular expressions that need too much memory, before the parser compiles them. If the query has `=~` or
/// `!~`, each quoted text could be a regular expression. In this case, the function checks all quoted texts.
fn check_regexes(query: &str) -> Result<(), Refused> {
    let operators = query.matches("=~").count() + query.matches("!~").count();
    if operators > REGEXES {
        return Err(Refused::Regex);
    }
    let fits = |text: &String| {
        let built = RegexBuilder::new(&format!("^(?:{text})$")).size_limit(REGEX_KIB << 10).build();
        !matches!(built, Err(regex::Error::CompiledTooBig(_)))
    };
    if operators == 0 || texts(query).iter().all(fits) { Ok(()) } else { Err(Refused::Regex) }
}

/// The values of the quoted texts of a query. Skips comments, from `#` to the end of the line.
fn texts(query: &str) -> Vec<String> {
    let (mut texts, mut rest) = (Vec::new(), query);
    while let Some(begin) = rest.find(['"', '\'', '`', '#']) {
        let quoted = &rest[begin..];
        let Some(quote) = quoted.chars().next() else { break };
        let end = if quote == '#' { quoted.find('\n') } else { closing(quoted, quote) };
        let Some(end) = end else { break };
        if quote != '#' {
            texts.extend(unquote_string(&quoted[..=end]));
        }
        rest = &quoted[end + 1..];
    }
    texts
}

/// The position of the closing quote, if any. A backslash escapes the next character, except between backticks.
fn closing(quoted: &str, quote: char) -> Option<usize> {
    let mut is_escaped = false;
    quoted.char_indices().skip(1).find_map(|(at, c)| {
        let closes = c == quote && !is_escaped;
        is_escaped = c == '\\' && !is_escaped && quote != '`';
        closes.then_some(at)
    })
}

/// Accepts the name of the label that contains the namespace, if PromQL needs no quotes for this name.
///
/// # Errors
/// The name needs quotes.
pub fn namespace_label(text: &str) -> Result<String, Refused> {
    plain("label", text).map(|()| text.to_owned())
}

/// Whether the name of a metric or label needs no quotes. Parsers can disagree about other names.
fn is_plain(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || "_:".contains(c))
        && chars.all(|c| c.is_ascii_alphanumeric() || "_:".contains(c))
}

fn plain(kind: &str, name: &str) -> Result<(), Refused> {
    if is_plain(name) {
        return Ok(());
    }
    Err(Refused::Unlimited(format!("the {kind} {name:?}, which needs quotes")))
}

fn plain_labels(labels: &Labels) -> Result<(), Refused> {
    labels.labels.iter().try_for_each(|label| plain("label", label))
}

fn plain_modifier(modifier: Option<&LabelModifier>) -> Result<(), Refused> {
    match modifier {
        Some(LabelModifier::Include(labels) | LabelModifier::Exclude(labels)) => plain_labels(labels),
        None => Ok(()),
    }
}

fn plain_selector(selector: &VectorSelector) -> Result<(), Refused> {
    if !selector.matchers.or_matchers.is_empty() {
        return Err(Refused::Unlimited("\"or\" between matchers".to_owned()));
    }
    selector.name.iter().try_for_each(|name| plain("metric name", name))?;
    selector.matchers.matchers.iter().try_for_each(|matcher| plain("label", &matcher.name))
}

fn plain_call(call: &Call) -> Result<(), Refused> {
    // The function `info` reads the series `target_info` without a selector, so no matcher can limit this function.
    if call.func.experimental || call.func.name == "info" {
        return Err(Refused::Unlimited(format!("the experimental function {}()", call.func.name)));
    }
    Ok(())
}

fn plain_binary(BinaryExpr { modifier, .. }: &BinaryExpr) -> Result<(), Refused> {
    let Some(modifier) = modifier else { return Ok(()) };
    plain_modifier(modifier.matching.as_ref())?;
    match &modifier.card {
        VectorMatchCardinality::ManyToOne(labels) | VectorMatchCardinality::OneToMany(labels) => {
            plain_labels(labels)
        }
        VectorMatchCardinality::OneToOne | VectorMatchCardinality::ManyToMany => Ok(()),
    }
}

/// Calls `act` for every selector. Refuses parts that cannot be limited to a namespace, and subqueries with too many
/// steps.
///
/// The parser library has visitors too. They skip the parameters of aggregations, such as the first argument of `topk`,
/// so they cannot replace this struct.
struct Walk<'a> {
    act: &'a mut dyn FnMut(&mut VectorSelector) -> Result<(), Refused>,
    /// The number of times that Prometheus evaluates the visited part, because of the subqueries around this part.
    evaluations: u128,
    /// The number of steps of all subqueries that were visited.
    steps: u128,
}

impl<'a> Walk<'a> {
    fn new(act: &'a mut dyn FnMut(&mut VectorSelector) -> Result<(), Refused>) -> Self {
        Self { act, evaluations: 1, steps: 0 }
    }

    fn through(&mut self, expression: &mut Expr) -> Result<(), Refused> {
        match expression {
            Expr::VectorSelector(selector) => self.selector(selector),
            Expr::MatrixSelector(matrix) => self.selector(&mut matrix.vs),
            Expr::Call(call) => {
                plain_call(call)?;
                call.args.args.iter_mut().try_for_each(|argument| self.through(argument))
            }
            Expr::Aggregate(AggregateExpr { expr, param, modifier, .. }) => {
                plain_modifier(modifier.as_ref())?;
                param.iter_mut().try_for_each(|param| self.through(param))?;
                self.through(expr)
            }
            Expr::Binary(binary) => {
                plain_binary(binary)?;
                self.through(&mut binary.lhs)?;
                self.through(&mut binary.rhs)
            }
            Expr::Unary(unary) => self.through(&mut unary.expr),
            Expr::Paren(parentheses) => self.through(&mut parentheses.expr),
            Expr::Subquery(subquery) => self.subquery(subquery),
            Expr::NumberLiteral(_) | Expr::StringLiteral(_) => Ok(()),
            Expr::Extension(_) => Err(Refused::Unlimited("an extension of PromQL".to_owned())),
        }
    }

    fn selector(&mut self, selector: &mut VectorSelector) -> Result<(), Refused> {
        plain_selector(selector)?;
        (self.act)(selector)
    }

    fn subquery(&mut self, subquery: &mut SubqueryExpr) -> Result<(), Refused> {
        let step = subquery.step.filter(|step| !step.is_zero()).unwrap_or(DEFAULT_STEP);
        let steps = subquery.range.as_nanos().div_ceil(step.as_nanos());
        let evaluations = self.evaluations.saturating_mul(steps);
        self.steps = self.steps.saturating_add(evaluations);
        if self.steps > STEPS {
            return Err(Refused::Steps);
        }
        let outer = mem::replace(&mut self.evaluations, evaluations);
        self.through(&mut subquery.expr)?;
        self.evaluations = outer;
        Ok(())
    }
}

/// The queries of a monitor, limited to its namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitedQueries {
    /// The query for the value.
    pub value: String,
    /// The query for the number of samples, if the monitor requires samples.
    pub samples: Option<String>,
}

impl LimitedQueries {
    /// The queries of the monitor `spec` in `namespace`.
    ///
    /// # Errors
    /// The monitor has neither a query nor an alert, or a query is refused.
    pub fn of(spec: &MonitorSpec, label: &str, namespace: &str) -> Result<Self, Refused> {
        let value = match (&spec.query, &spec.alert) {
            (Some(query), _) => query.clone(),
            (None, Some(alert)) => firing(alert)?,
            (None, None) => {
                return Err(Refused::Syntax("the monitor has neither query nor alert".to_owned()));
            }
        };
        let limited = |query: &str| in_namespace(query, label, namespace);
        let samples = spec.samples.as_ref().map(|samples| limited(&samples.query)).transpose()?;
        Ok(Self { value: limited(&value)?, samples })
    }
}

/// The query for the number of firing alerts.
fn firing(alert: &ExistingAlert) -> Result<String, Refused> {
    let mut matchers = vec![
        Matcher::new(MatchOp::Equal, "alertname", &alert.name),
        Matcher::new(MatchOp::Equal, "alertstate", "firing"),
    ];
    for (label, value) in &alert.labels {
        plain("label", label)?;
        matchers.push(Matcher::new(MatchOp::Equal, label, value));
    }
    let matchers: Vec<_> = matchers.iter().map(ToString::to_string).collect();
    Ok(format!("count(ALERTS{{{}}}) or vector(0)", matchers.join(",")))
}

#[cfg(test)]
mod tests;

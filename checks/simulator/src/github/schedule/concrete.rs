//! Expressions of which everything is known: every context becomes the literal that it is, and the crate that parses
//! expressions evaluates what is left.

use github_actions_expressions::{
    Evaluation, Expr, SpannedExpr,
    call::Function,
    literal::Literal,
    op::{BinOp, UnOp},
};
use serde_json::{Map, Value};
use serde_yaml_ng::Value as Yaml;

/// A node with its expressions evaluated; nothing when one of them fails.
pub fn resolve(node: &Yaml, contexts: &Map<String, Value>) -> Option<Value> {
    Some(match node {
        Yaml::String(text) => resolve_text(text, contexts)?,
        Yaml::Sequence(items) => {
            Value::Array(items.iter().map(|item| resolve(item, contexts)).collect::<Option<_>>()?)
        }
        Yaml::Mapping(pairs) => {
            let pair =
                |(name, node): (&Yaml, &Yaml)| Some((name.as_str()?.to_owned(), resolve(node, contexts)?));
            Value::Object(pairs.iter().map(pair).collect::<Option<_>>()?)
        }
        plain => serde_json::to_value(plain).ok()?,
    })
}

fn resolve_text(whole: &str, contexts: &Map<String, Value>) -> Option<Value> {
    if let Some(inner) = whole.strip_prefix("${{").and_then(|rest| rest.strip_suffix("}}"))
        && !inner.contains("${{")
    {
        return value(&evaluate(inner.trim(), contexts, true)?);
    }
    let mut written = String::new();
    let mut rest = whole;
    while let Some((before, after)) = rest.split_once("${{") {
        let (inner, after) = after.split_once("}}")?;
        written.push_str(before);
        written.push_str(&evaluate(inner.trim(), contexts, true)?.sema().to_string());
        rest = after;
    }
    Some(Value::String(written + rest))
}

/// A value as a label, a name or an output.
pub fn text(value: &Value) -> Option<String> {
    match value {
        Value::Array(_) | Value::Object(_) => None,
        plain => Some(Evaluation::try_from(plain.clone()).ok()?.sema().to_string()),
    }
}

/// Whether two values are equal as `==` has it.
pub fn equal(one: &Value, other: &Value) -> bool {
    let evaluation = |value: &Value| Evaluation::try_from(value.clone());
    matches!((evaluation(one), evaluation(other)), (Ok(one), Ok(other)) if one.sema() == other.sema())
}

/// An `if`: whether it holds, and whether it asks for the state of what went before.
pub fn truth(node: &Yaml, contexts: &Map<String, Value>, needs_ran: bool) -> Option<(bool, bool)> {
    let Yaml::String(whole) = node else { return Some((node.as_bool().unwrap_or(true), false)) };
    let inner = whole.strip_prefix("${{").and_then(|rest| rest.strip_suffix("}}")).unwrap_or(whole).trim();
    let lower = inner.to_ascii_lowercase();
    let asks =
        ["always()", "success()", "failure()", "cancelled()"].iter().any(|status| lower.contains(status));
    Some((evaluate(inner, contexts, needs_ran)?.as_boolean(), asks))
}

fn evaluate(expression: &str, contexts: &Map<String, Value>, needs_ran: bool) -> Option<Evaluation> {
    let parsed = Expr::parse(expression).ok()?;
    let substituted = substitute(&parsed, contexts, needs_ran)?;
    Expr::parse(&substituted).ok()?.consteval()
}

fn value(evaluation: &Evaluation) -> Option<Value> {
    evaluation.clone().try_into().ok()
}

/// The expression with a literal in the place of every context.
fn substitute(
    expression: &SpannedExpr<'_>,
    contexts: &Map<String, Value>,
    needs_ran: bool,
) -> Option<String> {
    let inside = |expression| substitute(expression, contexts, needs_ran);
    Some(match &expression.inner {
        Expr::Literal(Literal::String(text)) => quoted(text),
        Expr::Literal(literal) => literal.as_str().into_owned(),
        Expr::UnExpr { op: UnOp::Not, expr } => format!("!({})", inside(expr)?),
        Expr::BinExpr(binary) => {
            let operator = match binary.op {
                BinOp::And => "&&",
                BinOp::Or => "||",
                BinOp::Eq => "==",
                BinOp::Neq => "!=",
                BinOp::Gt => ">",
                BinOp::Ge => ">=",
                BinOp::Lt => "<",
                BinOp::Le => "<=",
            };
            format!("({}) {operator} ({})", inside(&binary.lhs)?, inside(&binary.rhs)?)
        }
        Expr::Call(call) => match call.func {
            Function::Always => "true".to_owned(),
            Function::Success => needs_ran.to_string(),
            Function::Failure | Function::Cancelled => "false".to_owned(),
            function => {
                let arguments: Vec<String> = call.args.iter().map(inside).collect::<Option<_>>()?;
                format!("{function:?}({})", arguments.join(", "))
            }
        },
        Expr::Context(context) => {
            let (head, rest) = context.parts.split_first()?;
            let mut found = match &head.inner {
                Expr::Identifier(name) => field(&Value::Object(contexts.clone()), name.as_str()),
                other => value(&Expr::parse(&substitute(head, contexts, needs_ran)?).ok()?.consteval()?)
                    .filter(|_| !matches!(other, Expr::Star))?,
            };
            for part in rest {
                found = match &part.inner {
                    Expr::Identifier(name) => field(&found, name.as_str()),
                    Expr::Index(index) => match Expr::parse(&inside(index)?).ok()?.consteval()? {
                        Evaluation::String(name) => field(&found, &name),
                        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                        Evaluation::Number(number) => {
                            found.get(number as usize).cloned().unwrap_or(Value::Null)
                        }
                        _ => Value::Null,
                    },
                    _ => return None,
                };
            }
            literal(&found)?
        }
        _ => return None,
    })
}

fn field(value: &Value, name: &str) -> Value {
    let fields = value.as_object().into_iter().flatten();
    fields
        .into_iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map_or(Value::Null, |(_, value)| value.clone())
}

fn literal(value: &Value) -> Option<String> {
    Some(match value {
        Value::String(text) => quoted(text),
        Value::Array(_) | Value::Object(_) => format!("fromJSON({})", quoted(&value.to_string())),
        plain => serde_json::to_string(plain).ok()?,
    })
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

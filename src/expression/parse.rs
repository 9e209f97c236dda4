//! Parses the text of an expression with the `cel` library.
//!
//! The parser of the library is recursive. So this module first splits the text into tokens, and checks the limits of
//! size and nesting. The parser then needs only a small stack. The tokens also give the positions of names and
//! literals.
//!
//! Only this file uses items of the library that are `#[doc(hidden)]`.

use cel::{
    common::ast::IdedExpr,
    parser::{
        PrattParser,
        pratt_parser::{Lexer, Token, TokenKind},
    },
};

use super::error::{InvalidExpression, Position};

pub(super) const TEXT_BYTES: usize = 4096;

/// The maximum number of tokens. White space and comments do not count.
pub(super) const TOKENS: usize = 1000;

pub(super) const BRACKETS: usize = 32;

/// The maximum number of conditional operators. The parser calls itself for each of them.
pub(super) const CONDITIONALS: usize = 32;

/// The maximum depth of a syntax tree. The checker and the evaluator are recursive, so this limit bounds their stack.
pub(super) const DEPTH: usize = 96;

pub(super) struct Parsed {
    pub(super) root: IdedExpr,
    /// The positions of the names and literals, in the order of the text. The parser of the library keeps no positions.
    pub(super) leaves: Vec<Position>,
}

pub(super) fn parse(text: &str) -> Result<Parsed, InvalidExpression> {
    if text.len() > TEXT_BYTES {
        let message = format!("the expression has {} bytes, and {TEXT_BYTES} are allowed", text.len());
        return Err(InvalidExpression::new(None, message));
    }
    let tokens = tokens(text)?;
    within_limits(text, &tokens)?;
    let root = PrattParser::new().parse(text).map_err(|errors| {
        let Some(error) = errors.errors.into_iter().next() else {
            return InvalidExpression::new(None, "the syntax is not correct");
        };
        let position = (usize::try_from(error.pos.0), usize::try_from(error.pos.1));
        let position = match position {
            (Ok(line), Ok(column)) if line > 0 => Some(Position { line, column }),
            _ => None,
        };
        InvalidExpression::new(position, error.msg)
    })?;
    let leaves = tokens.iter().filter(|token| is_leaf(token.kind));
    let leaves = leaves.map(|token| Position::of(text, token.start)).collect();
    Ok(Parsed { root, leaves })
}

fn tokens(text: &str) -> Result<Vec<Token>, InvalidExpression> {
    let mut lexer = Lexer::new(text);
    let mut tokens = Vec::new();
    loop {
        let token = lexer.lex();
        let position = Some(Position::of(text, token.start));
        match token.kind {
            TokenKind::TokEnd => return Ok(tokens),
            TokenKind::TokWhitespace | TokenKind::TokComment => {}
            TokenKind::TokError => {
                let message = lexer.get_error().map_or("unexpected character", |error| &error.message);
                return Err(InvalidExpression::new(position, message));
            }
            _ if tokens.len() == TOKENS => {
                let message = format!("the expression has more than {TOKENS} names, literals and operators");
                return Err(InvalidExpression::new(position, message));
            }
            _ => tokens.push(token),
        }
    }
}

fn within_limits(text: &str, tokens: &[Token]) -> Result<(), InvalidExpression> {
    let (mut brackets, mut conditionals) = (0_usize, 0);
    for token in tokens {
        match token.kind {
            TokenKind::TokLeftParen | TokenKind::TokLeftBracket | TokenKind::TokLeftBrace => brackets += 1,
            TokenKind::TokRightParen | TokenKind::TokRightBracket | TokenKind::TokRightBrace => {
                brackets = brackets.saturating_sub(1);
            }
            TokenKind::TokQuestion => conditionals += 1,
            _ => {}
        }
        let (limit, what) = match () {
            () if brackets > BRACKETS => (BRACKETS, "nested brackets"),
            () if conditionals > CONDITIONALS => (CONDITIONALS, "conditional operators"),
            () => continue,
        };
        let position = Some(Position::of(text, token.start));
        return Err(InvalidExpression::new(position, format!("the expression has more than {limit} {what}")));
    }
    Ok(())
}

fn is_leaf(kind: TokenKind) -> bool {
    matches!(
        kind,
        TokenKind::TokIdent
            | TokenKind::TokReservedWord
            | TokenKind::TokNull
            | TokenKind::TokTrue
            | TokenKind::TokFalse
            | TokenKind::TokInt
            | TokenKind::TokUint
            | TokenKind::TokFloat
            | TokenKind::TokString
            | TokenKind::TokBytes
    )
}

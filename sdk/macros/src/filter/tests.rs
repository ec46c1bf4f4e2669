//! What `#[filter]` makes of a block, and what it refuses.

use proc_macro2::TokenStream;
use quote::quote;

use super::expand;

/// The manifest in the output of `#[filter(arguments)]` over these functions.
fn manifest(arguments: TokenStream, functions: &TokenStream) -> String {
    let block = syn::parse2(quote!(impl Filter for Plugin { #functions })).unwrap();
    let output = expand(arguments, block).unwrap().to_string();
    let start = output.find("{\\\"sdk").unwrap();
    let end = output[start..].find("]}").unwrap() + start + 2;
    output[start..end].replace("\\\"", "\"")
}

/// What `#[filter]` says about a wrong block.
fn error(block: TokenStream) -> String {
    expand(TokenStream::new(), syn::parse2(block).unwrap()).unwrap_err().to_string()
}

#[test]
fn the_manifest_lists_what_the_author_wrote() {
    let cases = [
        (
            quote!(
                fn request(&self, req: &mut Request) -> Result {
                    Ok(())
                }
            ),
            r#""request_headers""#,
            "",
        ),
        (
            quote!(
                async fn response(&self, res: &mut Response) -> Result {
                    res.body().await?;
                    Ok(())
                }
            ),
            r#""response_headers","response_body""#,
            "",
        ),
        (
            quote!(
                async fn request(&self, r: &mut Request) -> Result {
                    let x = ensure!(r.json::<u8>().await? > 1, 400, "");
                }
            ),
            r#""request_headers","request_body""#,
            "",
        ),
        (
            quote!(
                async fn request(&self, req: &mut Request) -> Result {
                    while let Some(c) = req.chunk().await? {
                        req.write(c);
                    }
                }
            ),
            r#""request_headers","request_body""#,
            r#""request""#,
        ),
        (
            quote!(
                async fn request(&self, req: &mut Request) -> Result {
                    self.idp.get("/").await?.json()?;
                    reply.body("x")
                }
            ),
            r#""request_headers""#,
            "",
        ),
        (
            quote!(
                fn done(&self, end: &End) {}
            ),
            r#""finish""#,
            "",
        ),
        (
            quote!(
                #[every("1s")]
                fn tick(&self) {}
            ),
            "",
            "",
        ),
    ];
    for (functions, callbacks, streams) in cases {
        let expected =
            format!(r#"{{"sdk":"0.1.0","callbacks":[{callbacks}],"pause":"stop_iteration","streams":[{streams}]}}"#);
        assert_eq!(manifest(TokenStream::new(), &functions), expected);
    }
}

#[test]
fn a_body_that_is_read_elsewhere_is_listed_by_hand() {
    let functions = quote!(
        async fn request(&self, req: &mut Request) -> Result {
            helper(req).await
        }
    );
    assert!(manifest(quote!(request_body), &functions).contains(r#"["request_headers","request_body"]"#));
}

#[test]
fn wrong_blocks_say_what_is_expected() {
    assert!(error(quote!(impl Other for Plugin {})).starts_with("expected `impl Filter for Type`"));
    assert!(error(quote!(impl Filter for Plugin { fn helper(&self) {} })).starts_with("not a phase of a filter"));
    assert!(error(quote!(impl Filter for Plugin { type Config = X; })).contains("needs `fn new"));
    assert!(error(quote!(impl Filter for Plugin { const A: u8 = 1; })).contains("functions and `type Config`"));
    let arguments = quote!(bodies);
    let block = syn::parse2(quote!(impl Filter for Plugin {})).unwrap();
    assert_eq!(expand(arguments, block).unwrap_err().to_string(), "expected request_body or response_body");
}

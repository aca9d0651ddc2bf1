//! The body of every reply: ours, or the upstream's as it comes.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};

use crate::proxy::drain::Running;
use crate::proxy::upstream::UpstreamBody;

#[derive(Debug)]
pub(super) struct Reply {
    content: Content,
    /// The request runs until its reply has been sent, or given up.
    _running: Option<Running>,
}

#[derive(Debug)]
enum Content {
    Own(Full<Bytes>),
    Upstream(UpstreamBody),
}

impl Reply {
    pub(super) fn text(text: Bytes) -> Self {
        Self { content: Content::Own(Full::new(text)), _running: None }
    }

    pub(super) fn empty() -> Self {
        Self::text(Bytes::new())
    }

    pub(super) fn upstream(body: UpstreamBody) -> Self {
        Self { content: Content::Upstream(body), _running: None }
    }

    pub(super) fn holding(self, running: Running) -> Self {
        Self { _running: Some(running), ..self }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.get_mut().content {
            Content::Own(text) => {
                Pin::new(text).poll_frame(context).map_err(|never| match never {})
            }
            Content::Upstream(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Own(text) => text.is_end_stream(),
            Content::Upstream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Own(text) => text.size_hint(),
            Content::Upstream(body) => body.size_hint(),
        }
    }
}

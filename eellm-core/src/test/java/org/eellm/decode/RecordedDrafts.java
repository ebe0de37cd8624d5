package org.eellm.decode;

import java.util.ArrayList;
import java.util.List;
import org.eellm.decode.request.Draft;
import org.eellm.decode.request.RequestListener;
import org.eellm.decode.request.Result;
import org.eellm.decode.request.ResultFuture;
import org.eellm.decode.token.GeneratedToken;
import org.eellm.decode.token.TokenListener.Reaction;

/** A text's drafts, and what came of it. */
final class RecordedDrafts implements RequestListener {
  private final List<Draft> all = new ArrayList<>();
  private final ResultFuture end = new ResultFuture(_ -> Reaction.CONTINUE);

  /** The text, once it has ended. */
  Result await() {
    return end.await();
  }

  /** The drafts, in order; complete once it has ended. */
  List<Draft> all() {
    return all;
  }

  @Override
  public Reaction onToken(GeneratedToken token) {
    return end.onToken(token);
  }

  @Override
  public void onDraft(Draft draft) {
    all.add(draft);
  }

  @Override
  public void onEnd(Result result) {
    end.onEnd(result);
  }

  @Override
  public void onFailure(RuntimeException cause) {
    end.onFailure(cause);
  }
}

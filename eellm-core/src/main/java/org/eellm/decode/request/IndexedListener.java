package org.eellm.decode.request;

import java.util.Optional;
import org.eellm.decode.token.GeneratedToken;
import org.eellm.decode.token.TokenListener;
import org.eellm.decode.token.TokenListener.Reaction;

/** Hands on the tokens of one request of many. */
public final class IndexedListener implements RequestListener {
  private final int index;
  private final TokenListener listener;
  private Optional<Result> result = Optional.empty();

  public IndexedListener(int index, TokenListener listener) {
    this.index = index;
    this.listener = listener;
  }

  /** The request's result, when it has ended. */
  public Result result() {
    return result.orElseThrow();
  }

  @Override
  public Reaction onToken(GeneratedToken token) {
    return listener.onToken(index, token);
  }

  @Override
  public void onEnd(Result ended) {
    result = Optional.of(ended);
  }

  @Override
  public void onFailure(RuntimeException cause) {
    throw cause;
  }
}

package org.eellm.decode.request;

import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.function.Function;
import org.eellm.decode.token.GeneratedToken;
import org.eellm.decode.token.TokenListener.Reaction;

/** Lets another thread wait for the end of a request. */
public final class ResultFuture implements RequestListener {
  private final Function<GeneratedToken, Reaction> tokens;
  private final CompletableFuture<Result> end = new CompletableFuture<>();

  /**
   * @param tokens receives each token, and says whether the text is to go on
   */
  public ResultFuture(Function<GeneratedToken, Reaction> tokens) {
    this.tokens = tokens;
  }

  /** The result, as soon as there is one; or throws what the request failed of. */
  public Result await() {
    try {
      return end.join();
    } catch (CompletionException e) {
      throw e.getCause() instanceof RuntimeException cause ? cause : e;
    }
  }

  @Override
  public Reaction onToken(GeneratedToken token) {
    return tokens.apply(token);
  }

  @Override
  public void onEnd(Result result) {
    end.complete(result);
  }

  @Override
  public void onFailure(RuntimeException cause) {
    end.completeExceptionally(cause);
  }
}

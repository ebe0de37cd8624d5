package org.eellm.decode;

import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import org.eellm.config.HeadId;
import org.eellm.decode.request.GenerateException;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.Result;
import org.eellm.decode.token.GeneratedToken;
import org.eellm.decode.token.TokenListener;
import org.eellm.model.DecodingModel;

/**
 * Scores existing texts: the log probability of every token after those before it, by the final
 * head or by any exit.
 */
public final class Scorer {
  private Scorer() {}

  /**
   * Scores texts, as many at once as the limits say, on the calling thread.
   *
   * @param texts ids, at least one each
   * @param head the head that speaks
   * @param alternatives how many of the most probable ids to tell with each token
   * @return for each text all tokens but the first, which nothing stands before
   * @throws GenerateException if a text does not fit the model
   */
  public static List<List<GeneratedToken>> score(
      DecodingModel model,
      Limits limits,
      List<List<Integer>> texts,
      HeadId head,
      int alternatives) {
    List<Request> requests =
        texts.stream()
            .filter(text -> text.size() != 1)
            .map(text -> Request.score(text, head, alternatives))
            .toList();
    Iterator<Result> results =
        Generator.generate(model, limits, requests, TokenListener.none()).iterator();
    List<List<GeneratedToken>> scores = new ArrayList<>();
    for (List<Integer> text : texts) {
      scores.add(text.size() == 1 ? List.of() : results.next().tokens());
    }
    return scores;
  }
}

package org.eellm.generate;

import java.util.ArrayList;
import java.util.List;
import org.eellm.model.Decoder;

/**
 * What the model says of texts that are there already: the log probability of every token after
 * those before it, by the final head or by any exit.
 */
public final class Scorer {
  private Scorer() {}

  /**
   * Scores texts, on the calling thread.
   *
   * @param texts ids, at least one each
   * @param head name of the head that speaks: {@code final}, or {@code exit_6}
   * @param alternatives how many of the most probable ids to tell with each token
   * @return for each text all tokens but the first, which nothing stands before
   * @throws GenerateException if a text does not fit the model
   */
  public static List<List<GeneratedToken>> score(
      Decoder model, Limits limits, List<List<Integer>> texts, String head, int alternatives) {
    List<List<GeneratedToken>> scores = new ArrayList<>();
    for (List<Integer> text : texts) {
      scores.add(text.size() == 1 ? List.of() : scoreText(model, limits, text, head, alternatives));
    }
    return scores;
  }

  private static List<GeneratedToken> scoreText(
      Decoder model, Limits limits, List<Integer> text, String head, int alternatives) {
    Request request = Request.score(text, head, alternatives);
    return Generator.generate(model, limits, List.of(request), TokenListener.none())
        .getFirst()
        .tokens();
  }
}

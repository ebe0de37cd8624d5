package org.eellm.generate;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.config.ConfigException;
import org.eellm.generate.TokenListener.Reaction;
import org.eellm.model.Decoder;
import org.eellm.model.Head;

/**
 * What the model says of texts that are there already: the log probability of every token after
 * those before it, by the final head or by any exit.
 */
public final class Scorer {
  private Scorer() {}

  /**
   * Scores texts, one after the other, on the calling thread.
   *
   * @param texts ids, at least one each
   * @param head name of the head that speaks: {@code final}, or {@code exit_6}
   * @param alternatives how many of the most probable ids to tell with each token
   * @return for each text all tokens but the first, which nothing stands before
   * @throws GenerateException if a text does not fit the model
   */
  public static List<List<GeneratedToken>> score(
      Decoder model, Limits limits, List<List<Integer>> texts, String head, int alternatives) {
    ExitPolicy policy = new Alone(head);
    List<List<GeneratedToken>> scores = new ArrayList<>();
    for (int i = 0; i < texts.size(); i++) {
      scores.add(score(model, limits, texts.get(i), "text " + (i + 1), policy, alternatives));
    }
    return scores;
  }

  /** Asks one head alone. */
  private record Alone(String name) implements ExitPolicy {
    @Override
    public boolean leaves(Prediction prediction) {
      return true;
    }

    @Override
    public List<Head> heads(List<Head> all) {
      List<Head> chosen = all.stream().filter(head -> head.name().equals(name)).toList();
      if (chosen.isEmpty()) {
        throw new ConfigException(
            "head: '%s' is none of the model's; use one of %s"
                .formatted(name, all.stream().map(Head::name).toList()));
      }
      return chosen;
    }
  }

  private static List<GeneratedToken> score(
      Decoder model,
      Limits limits,
      List<Integer> text,
      String name,
      ExitPolicy policy,
      int alternatives) {
    if (text.size() == 1) {
      return List.of();
    }
    List<Integer> before = text.isEmpty() ? text : text.subList(0, text.size() - 1);
    Request request =
        new Request(before, 1, Set.of(), policy, Sampler.greedy()).withAlternatives(alternatives);
    Job job = Job.of(model, request, name, token -> Reaction.CONTINUE);
    ScalarType format = PagePool.format(model);
    int pages = PagePool.pages(job.positions());
    try (PagePool pool = new PagePool(pages, format);
        ScoringSequence sequence =
            new ScoringSequence(job, new SequenceCache(pool, pool.take(pages)), text)) {
      BlockPass pass = new BlockPass(model, limits.vocabSize(), limits.maxPending(), format);
      while (sequence.waiting() > 0) {
        pass.run(List.of(sequence.next(Math.min(Batch.PROMPT_ROWS, sequence.waiting()))));
        if (sequence.failure().isPresent()) {
          throw sequence.failure().get();
        }
      }
      return List.copyOf(sequence.scores());
    }
  }
}

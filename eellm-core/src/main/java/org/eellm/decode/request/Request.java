package org.eellm.decode.request;

import java.io.Serializable;
import java.util.List;
import java.util.Set;
import org.eellm.config.HeadId;
import org.eellm.config.SettingException;
import org.eellm.decode.exit.ExitPolicy;
import org.eellm.decode.sample.Sampler;

/**
 * A text to be continued.
 *
 * @param prompt ids, at least one
 * @param maxTokens most tokens to generate, at least one
 * @param endTokens ids that end the text; such a token is the last of the result
 * @param alternatives how many of the most probable ids to tell with each token
 * @param adapter the number of the model's adapter that writes the text, from 1; 0 for the model as
 *     it is
 */
public record Request(
    List<Integer> prompt,
    int maxTokens,
    Set<Integer> endTokens,
    DecodingMethod decoding,
    Sampler sampler,
    int alternatives,
    int adapter)
    implements Serializable {

  public Request {
    prompt = List.copyOf(prompt);
    endTokens = Set.copyOf(endTokens);
    if (prompt.isEmpty()) {
      throw new GenerateException("the prompt is empty; give at least one token");
    }
    if (maxTokens < 1) {
      throw new SettingException("max-tokens", maxTokens + " is below 1; use 1 or more");
    }
    if (alternatives < 0) {
      throw new SettingException("alternatives", alternatives + " is negative; use 0 for none");
    }
  }

  public Request(
      List<Integer> prompt,
      int maxTokens,
      Set<Integer> endTokens,
      DecodingMethod decoding,
      Sampler sampler) {
    this(prompt, maxTokens, endTokens, decoding, sampler, 0, 0);
  }

  /** With early exits, and without alternatives. */
  public Request(
      List<Integer> prompt,
      int maxTokens,
      Set<Integer> endTokens,
      ExitPolicy policy,
      Sampler sampler) {
    this(prompt, maxTokens, endTokens, new DecodingMethod.EarlyExit(policy), sampler);
  }

  /**
   * A request to score an existing text with one head; see {@link DecodingMethod.Score}.
   *
   * @param text ids, at least two
   */
  public static Request score(List<Integer> text, HeadId head, int alternatives) {
    return score(text, 1, List.of(head), ScoreListener.none()).withAlternatives(alternatives);
  }

  /**
   * A request to score an existing text with some heads; see {@link DecodingMethod.Score}.
   *
   * @param text ids, at least two
   * @param from position of the first token whose predictions are reported, at least 1
   */
  public static Request score(
      List<Integer> text, int from, List<HeadId> heads, ScoreListener listener) {
    if (text.size() < 2) {
      throw new GenerateException(
          "a text of %d tokens has none with others before it; give at least two"
              .formatted(text.size()));
    }
    if (from < 1 || from >= text.size()) {
      throw new GenerateException(
          "a text of %d tokens cannot be scored from position %d on; use one from 1 to %d"
              .formatted(text.size(), from, text.size() - 1));
    }
    return new Request(
        text.subList(0, text.size() - 1),
        1,
        Set.of(),
        new DecodingMethod.Score(heads, from, text.getLast(), listener, false),
        Sampler.greedy());
  }

  /**
   * A copy of a request to score a text, whose exits are asked as for drafts: see {@link
   * DecodingMethod.Score}.
   */
  public Request ofShortList() {
    if (!(decoding instanceof DecodingMethod.Score score)) {
      throw new IllegalStateException("only a text that is there already is scored");
    }
    return withDecoding(
        new DecodingMethod.Score(
            score.heads(), score.from(), score.last(), score.listener(), true));
  }

  public Request withDecoding(DecodingMethod other) {
    return new Request(prompt, maxTokens, endTokens, other, sampler, alternatives, adapter);
  }

  /** This request without its score listener, if it has one. */
  public Request withoutListener() {
    if (!(decoding instanceof DecodingMethod.Score score)) {
      return this;
    }
    return withDecoding(
        new DecodingMethod.Score(
            score.heads(), score.from(), score.last(), ScoreListener.none(), score.ofShortList()));
  }

  public Request withAlternatives(int count) {
    return new Request(prompt, maxTokens, endTokens, decoding, sampler, count, adapter);
  }

  public Request withAdapter(int number) {
    return new Request(prompt, maxTokens, endTokens, decoding, sampler, alternatives, number);
  }
}

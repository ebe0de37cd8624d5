package org.eellm.eval.sweep;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.eellm.config.ConfigException;
import org.eellm.decode.sample.RandomSampler;
import org.eellm.decode.sample.Sampler;

/**
 * What a sweep's texts are written under.
 *
 * @param temperature 0 for the most probable tokens; else each text is drawn with a seed of its
 *     own, the same for all settings
 * @param batchSize texts at a time
 * @param context tokens of each prompt; 0 for prompts as they are
 */
public record SweepConditions(double temperature, int batchSize, int context) {
  /** Greedily, one text at a time, after prompts as they are. */
  public static final SweepConditions USUAL = new SweepConditions(0, 1, 0);

  /**
   * @throws ConfigException if a value is out of range
   */
  public SweepConditions {
    if (!(temperature >= 0 && Double.isFinite(temperature)) || batchSize < 1 || context < 0) {
      throw new ConfigException(
          "--temperatures, --batch-sizes, --contexts: %s, %d, %d; use at least 0, 1 and 0"
              .formatted(temperature, batchSize, context));
    }
  }

  /**
   * Every combination.
   *
   * @throws ConfigException if a value is out of range
   */
  public static List<SweepConditions> all(
      List<Double> temperatures, List<Integer> batchSizes, List<Integer> contexts) {
    List<SweepConditions> all = new ArrayList<>();
    for (int context : contexts) {
      for (int batchSize : batchSizes) {
        for (double temperature : temperatures) {
          all.add(new SweepConditions(temperature, batchSize, context));
        }
      }
    }
    return all;
  }

  /** Those under which settings are chosen: greedily, one text at a time. */
  public SweepConditions ofChoice() {
    return new SweepConditions(0, 1, context);
  }

  /** A name for files: {@code temperature-0.8-batch-8-context-1000}. */
  public String name() {
    return "temperature-%s-batch-%d-context-%s"
        .formatted(temperature, batchSize, context == 0 ? "any" : context);
  }

  /** In words: {@code 8 texts at a time, drawn at temperature 0.8}. */
  String words() {
    return (batchSize == 1 ? "one text" : batchSize + " texts")
        + " at a time"
        + (temperature == 0 ? "" : ", drawn at temperature " + temperature)
        + (context == 0 ? "" : String.format(Locale.ROOT, ", prompts of %,d tokens", context));
  }

  /** The sampler of the text with a number, from 0. */
  Sampler sampler(int text) {
    return temperature == 0 ? Sampler.greedy() : new RandomSampler(temperature, 0, 1, 1, text);
  }

  /**
   * Prompts of {@link #context} tokens: as many of each one's last tokens, and in front of it the
   * other prompts' where it has not as many.
   *
   * @param start what each of them begins with, and begins with again
   * @throws ConfigException if all together have too few tokens
   */
  public List<List<Integer>> prompts(List<List<Integer>> given, List<Integer> start) {
    if (context == 0) {
      return given;
    }
    List<List<Integer>> texts =
        given.stream().map(text -> text.subList(start.size(), text.size())).toList();
    List<List<Integer>> prompts = new ArrayList<>();
    for (int i = 0; i < texts.size(); i++) {
      prompts.add(prompt(others(texts, i), texts.get(i), start));
    }
    return prompts;
  }

  /** All but one, from the next one on. */
  static <T> List<T> others(List<T> texts, int one) {
    List<T> others = new ArrayList<>(texts.subList(one + 1, texts.size()));
    others.addAll(texts.subList(0, one));
    return others;
  }

  /**
   * A prompt of {@link #context} tokens.
   *
   * @param before texts of which the last ones stand in front
   */
  List<Integer> prompt(List<List<Integer>> before, List<Integer> text, List<Integer> start) {
    int room = context - start.size();
    List<Integer> prompt = new ArrayList<>(text);
    for (int i = before.size() - 1; i >= 0 && prompt.size() < room; i--) {
      prompt.addAll(0, before.get(i));
    }
    if (room < 1 || prompt.size() < room) {
      throw new ConfigException(
          "--contexts: %d tokens, of which the texts have %d; use fewer, or longer texts"
              .formatted(context, prompt.size() + start.size()));
    }
    List<Integer> ids = new ArrayList<>(start);
    ids.addAll(prompt.subList(prompt.size() - room, prompt.size()));
    return ids;
  }
}

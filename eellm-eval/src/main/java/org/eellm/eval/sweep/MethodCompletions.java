package org.eellm.eval.sweep;

import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.SequencedMap;
import java.util.Set;
import java.util.function.ToDoubleBiFunction;
import java.util.stream.IntStream;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.DecodingMode;
import org.eellm.decode.request.DecodingSetting;
import org.eellm.decode.request.DecodingSettings;
import org.eellm.decode.request.Request;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.token.Detokenizer;
import org.eellm.decode.token.Prediction;
import org.eellm.decode.token.TokenListener;
import org.eellm.decode.token.TokenListener.Reaction;
import org.eellm.eval.Estimate;
import org.eellm.eval.EvalException;
import org.eellm.eval.EvaluatedModel;
import org.eellm.eval.sweep.JavaMethods.Method;

/**
 * The worth of a way to decode to someone who writes Java: methods of files that the model has not
 * seen are continued from the middle of their lines, with the file so far as the prompt. Figures of
 * a text are those of what was written by itself; the perplexity is that of the file's own text to
 * the heads at which its tokens would leave.
 */
public final class MethodCompletions implements SweepTasks {
  private final EvaluatedModel model;
  private final int maxTokens;
  private final List<Item> items;

  /**
   * A method that is to be continued.
   *
   * @param prompt the last tokens before the cut
   * @param rest the tokens that really follow
   */
  private record Item(HalfMethod method, List<Integer> prompt, List<Integer> rest) {}

  private MethodCompletions(EvaluatedModel model, int maxTokens, List<Item> items) {
    this.model = model;
    this.maxTokens = maxTokens;
    this.items = items;
  }

  /**
   * Methods in an order that is mixed and always the same.
   *
   * @param files Java sources
   * @param count of methods; fewer, where there are not as many
   * @param maxTokens of a continuation; longer methods are left out
   * @param conditions of which the prompts' length counts: other files stand in front of a short
   *     one
   * @throws EvalException if no method is suitable
   */
  public static MethodCompletions of(
      EvaluatedModel model,
      List<String> files,
      int count,
      int maxTokens,
      long seed,
      SweepConditions conditions) {
    List<Item> items = new ArrayList<>();
    List<Integer> order = new ArrayList<>(IntStream.range(0, files.size()).boxed().toList());
    Collections.shuffle(order, new Random(seed));
    // A method of each file, then another of each, so that many files have a part.
    List<List<Method>> methods =
        order.stream().map(file -> shuffled(JavaMethods.of(files.get(file)), seed)).toList();
    List<List<Integer>> texts =
        conditions.context() == 0
            ? List.of()
            : order.stream().map(file -> model.encode(files.get(file))).toList();
    int most = methods.stream().mapToInt(List::size).max().orElse(0);
    for (int round = 0; round < most; round++) {
      for (int i = 0; i < order.size() && items.size() < count; i++) {
        if (round < methods.get(i).size()) {
          List<List<Integer>> others =
              texts.isEmpty() ? List.of() : SweepConditions.others(texts, i);
          HalfMethod.of(files.get(order.get(i)), methods.get(i).get(round))
              .flatMap(method -> item(model, method, maxTokens, conditions, others))
              .ifPresent(items::add);
        }
      }
    }
    if (items.isEmpty()) {
      throw new EvalException(
          "the Java sources have no method of %d lines or more whose second half has %d tokens or fewer; use other sources, or a larger --max-tokens"
              .formatted(HalfMethod.LEAST_LINES, maxTokens));
    }
    return new MethodCompletions(model, maxTokens, items);
  }

  private static List<Method> shuffled(List<Method> methods, long seed) {
    List<Method> mixed = new ArrayList<>(methods);
    Collections.shuffle(mixed, new Random(seed));
    return mixed;
  }

  /**
   * @param others files that may stand in front
   */
  private static Optional<Item> item(
      EvaluatedModel model,
      HalfMethod method,
      int maxTokens,
      SweepConditions conditions,
      List<List<Integer>> others) {
    List<Integer> rest = model.encode(method.rest());
    int room = model.context() - maxTokens;
    if (rest.size() > maxTokens || room < 1) {
      return Optional.empty();
    }
    List<Integer> text = model.encode(method.before());
    if (conditions.context() > 0) {
      return Optional.of(
          new Item(method, conditions.prompt(others, text, model.bosTokens()), rest));
    }
    List<Integer> prompt = new ArrayList<>(model.bosTokens());
    prompt.addAll(text);
    return Optional.of(
        new Item(method, prompt.subList(Math.max(0, prompt.size() - room), prompt.size()), rest));
  }

  /** The tokens that the methods' second halves follow. */
  public List<List<Integer>> prompts() {
    return items.stream().map(Item::prompt).toList();
  }

  @Override
  public SequencedMap<String, Estimate> scores(String name, DecodingSettings settings) {
    DecodingMethod decoding = settings.decoding(model.exits(), maxTokens, option -> "--" + option);
    List<String> written = written(decoding);
    SequencedMap<String, Estimate> scores = new LinkedHashMap<>();
    scores.put("next line exact", mean(written, HalfMethod::nextLineExact));
    scores.put("next line similarity", mean(written, HalfMethod::nextLineSimilarity));
    scores.put("method similarity", mean(written, HalfMethod::similarity));
    scores.put("methods that parse", mean(written, HalfMethod::parses));
    boolean drafts =
        settings.get(DecodingSetting.MODE).filter(DecodingMode.SPECULATIVE::equals).isPresent();
    scores.put("perplexity of the file", perplexity(drafts ? DecodingMethod.full() : decoding));
    return scores;
  }

  private Estimate mean(List<String> written, ToDoubleBiFunction<HalfMethod, String> figure) {
    return Estimate.mean(
        IntStream.range(0, items.size())
            .mapToDouble(i -> figure.applyAsDouble(items.get(i).method(), written.get(i)))
            .toArray());
  }

  /** How methods go on, up to the line that closes them or as far as tokens reach. */
  private List<String> written(DecodingMethod decoding) {
    List<StringBuilder> texts = new ArrayList<>();
    List<Detokenizer> detokenizers = new ArrayList<>();
    List<Request> works = new ArrayList<>();
    for (Item item : items) {
      texts.add(new StringBuilder());
      detokenizers.add(model.detokenizer(item.prompt()));
      works.add(
          new Request(item.prompt(), maxTokens, model.endTokens(), decoding, Sampler.greedy()));
    }
    model.run(
        works,
        (i, token) -> {
          StringBuilder text = texts.get(i);
          if (!model.endTokens().contains(token.id())) {
            text.append(detokenizers.get(i).append(token.id()));
          }
          return items.get(i).method().isComplete(text) ? Reaction.STOP : Reaction.CONTINUE;
        });
    List<String> written = new ArrayList<>();
    for (int i = 0; i < items.size(); i++) {
      String text = texts.get(i).append(detokenizers.get(i).finish()).toString();
      written.add(items.get(i).method().complete(text));
    }
    return written;
  }

  /** Of what really follows, to the heads at which its tokens leave. */
  private Estimate perplexity(DecodingMethod decoding) {
    List<TeacherForcedLoss> continuations = items.stream().map(TeacherForcedLoss::new).toList();
    model.run(
        continuations.stream()
            .map(
                continuation ->
                    new Request(
                        continuation.prompt,
                        continuation.rest.size(),
                        Set.of(),
                        decoding,
                        continuation))
            .toList(),
        TokenListener.none());
    double[] losses =
        continuations.stream().mapToDouble(continuation -> continuation.loss).toArray();
    double[] tokens = items.stream().mapToDouble(item -> item.rest().size()).toArray();
    return Estimate.ratio(losses, tokens).map(Math::exp, Math::exp);
  }

  /** Goes on with the file's own tokens, and adds up what heads say of them. */
  private static final class TeacherForcedLoss implements Sampler {
    private final List<Integer> prompt;
    private final List<Integer> rest;
    private double loss; // nats

    TeacherForcedLoss(Item item) {
      prompt = List.copyOf(item.prompt());
      rest = List.copyOf(item.rest());
    }

    @Override
    public int next(Prediction prediction) {
      int id = rest.get(prediction.position() - prompt.size());
      loss -= prediction.logProbability(id);
      return id;
    }
  }
}

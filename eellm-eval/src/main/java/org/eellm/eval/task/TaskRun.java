package org.eellm.eval.task;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.Set;
import org.eellm.config.ConfigException;
import org.eellm.config.HeadId;
import org.eellm.decode.exit.ExitPolicy;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.DecodingSettings;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.Result;
import org.eellm.decode.request.ScoreListener;
import org.eellm.decode.sample.RandomSampler;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.token.Detokenizer;
import org.eellm.decode.token.GeneratedToken;
import org.eellm.decode.token.Prediction;
import org.eellm.decode.token.TextStream;
import org.eellm.decode.token.TokenListener;
import org.eellm.decode.token.TokenListener.Reaction;
import org.eellm.eval.EvaluatedModel;
import org.eellm.eval.task.Item.Pair;
import org.eellm.eval.task.Item.Question;
import org.eellm.eval.task.Outcome.Score;
import org.eellm.model.Head;

/**
 * Puts a task's items to a model.
 *
 * @param heads names of the heads that likelihoods are asked of; where that is the final one alone,
 *     and {@code decoding} lets tokens leave early, each token's likelihood is what the head says
 *     at which it would leave
 * @param decoding how answers are written
 * @param seed of answers that are drawn
 */
public record TaskRun(
    EvaluatedModel model, TaskSpec spec, List<HeadId> heads, DecodingSettings decoding, long seed) {

  /** A text, and the position from which it is the answer. */
  private record Encoded(List<Integer> ids, int from, boolean truncated) {
    /** The end of a text that is too long. */
    static Encoded of(List<Integer> ids, int from, int context) {
      int cut = Math.max(0, ids.size() - context);
      return new Encoded(
          ids.subList(cut, ids.size()), Math.clamp((long) from - cut, 1, context - 1), cut > 0);
    }
  }

  /** Answers to some items; those that begin alike are computed once. */
  public List<Outcome> answer(List<Item> items) {
    if (spec.outputType() == TaskSpec.OutputType.GENERATE_UNTIL) {
      return write(items);
    }
    List<List<Encoded>> texts = items.stream().map(this::texts).toList();
    int most = texts.stream().mapToInt(List::size).max().orElse(0);
    Optional<ExitPolicy> policy = policy();
    List<HeadId> asked =
        policy
            .map(of -> of.heads(model.model().decoder().allHeads()).stream().map(Head::id).toList())
            .orElse(heads);
    List<LeavingScore> leaving = new ArrayList<>();
    List<Request> works = new ArrayList<>();
    for (int i = 0; i < most; i++) { // first answers first, so that the others find their prompts
      for (List<Encoded> text : texts) {
        if (i < text.size()) {
          Encoded encoded = text.get(i);
          policy.ifPresent(of -> leaving.add(new LeavingScore(of)));
          ScoreListener listener = policy.isPresent() ? leaving.getLast() : ScoreListener.none();
          works.add(Request.score(encoded.ids(), encoded.from(), asked, listener));
        }
      }
    }
    List<List<SequencedMap<HeadId, Score>>> scores = new ArrayList<>();
    texts.forEach(text -> scores.add(new ArrayList<>()));
    List<Result> results = model.run(works, TokenListener.none());
    int next = 0;
    for (int i = 0; i < most; i++) {
      for (int item = 0; item < texts.size(); item++) {
        if (i < texts.get(item).size()) {
          scores
              .get(item)
              .add(
                  leaving.isEmpty()
                      ? scores(results.get(next))
                      : new LinkedHashMap<>(Map.of(HeadId.FINAL, leaving.get(next).score())));
          next++;
        }
      }
    }
    List<Outcome> outcomes = new ArrayList<>();
    for (int i = 0; i < items.size(); i++) {
      boolean truncated = texts.get(i).stream().anyMatch(Encoded::truncated);
      outcomes.add(outcome(items.get(i), truncated, scores.get(i)));
    }
    return outcomes;
  }

  /** The policy by which tokens leave, where no exit is asked apart and decoding has one. */
  private Optional<ExitPolicy> policy() {
    if (!heads.equals(List.of(HeadId.FINAL))) {
      return Optional.empty();
    }
    DecodingMethod method = decoding.decoding(model.exits(), model.context(), name -> "--" + name);
    return method instanceof DecodingMethod.ByPolicy early
        ? Optional.of(early.policy())
        : Optional.empty();
  }

  /**
   * The score of a text by the heads at which its tokens leave, as HELM scores a given answer by a
   * model with exits.
   */
  private static final class LeavingScore implements ScoreListener {
    private final ExitPolicy policy;
    private final Set<Integer> left = new HashSet<>(); // positions
    private double logLikelihood;
    private boolean greedy = true;

    LeavingScore(ExitPolicy policy) {
      this.policy = policy;
    }

    @Override
    public void onPrediction(Prediction prediction, int id) {
      boolean isLast = prediction.head().id().equals(HeadId.FINAL);
      if ((isLast || policy.leaves(prediction)) && left.add(prediction.position())) {
        logLikelihood += prediction.logProbability(id);
        greedy &= prediction.best() == id;
      }
    }

    Score score() {
      return new Score(logLikelihood, left.size(), greedy);
    }
  }

  /** Each head's score of a text. */
  private SequencedMap<HeadId, Score> scores(Result result) {
    SequencedMap<HeadId, Score> scores = new LinkedHashMap<>();
    for (HeadId head : heads) {
      List<GeneratedToken> tokens =
          result.tokens().stream().filter(token -> token.head().equals(head)).toList();
      scores.put(
          head,
          new Score(
              tokens.stream().mapToDouble(GeneratedToken::logProbability).sum(),
              tokens.size(),
              tokens.stream()
                  .allMatch(token -> Math.exp(token.logProbability()) >= token.confidence())));
    }
    return scores;
  }

  private Outcome outcome(Item item, boolean truncated, List<SequencedMap<HeadId, Score>> answers) {
    boolean whole = item.question() instanceof Question.LoglikelihoodRolling;
    SequencedMap<HeadId, List<Score>> byHead = new LinkedHashMap<>();
    for (HeadId head : heads) {
      List<Score> scores = answers.stream().map(answer -> answer.get(head)).toList();
      byHead.put(head, whole ? List.of(sum(scores)) : scores);
    }
    SequencedMap<HeadId, List<Score>> heads = Collections.unmodifiableSequencedMap(byHead);
    int index = item.index();
    String subtask = item.subtask();
    return switch (item.question()) {
      case Question.Loglikelihood _ -> new Outcome.Answer(index, subtask, truncated, heads);
      case Question.MultipleChoice choice ->
          new Outcome.Choice(
              index,
              subtask,
              truncated,
              heads,
              choice.right(),
              choice.choices().stream().map(String::length).toList());
      case Question.LoglikelihoodRolling(String text) ->
          new Outcome.Text(
              index,
              subtask,
              truncated,
              heads,
              (int) Arrays.stream(text.split("\\s+")).filter(word -> !word.isEmpty()).count(),
              text.getBytes(StandardCharsets.UTF_8).length);
      case Question.GenerateUntil _ -> throw new IllegalStateException("answers are written");
    };
  }

  private static Score sum(List<Score> scores) {
    return new Score(
        scores.stream().mapToDouble(Score::logLikelihood).sum(),
        scores.stream().mapToInt(Score::tokens).sum(),
        scores.stream().allMatch(Score::greedy));
  }

  private List<Encoded> texts(Item item) {
    return switch (item.question()) {
      case Question.LoglikelihoodRolling(String text) -> windows(text);
      case Question.Loglikelihood(Pair pair) -> List.of(encode(pair));
      case Question.MultipleChoice choice -> choice.pairs().stream().map(this::encode).toList();
      case Question.GenerateUntil _ -> throw new IllegalStateException("answers are written");
    };
  }

  /** A blank at a prompt's end goes to the answer, where tokenizers have it. */
  private Encoded encode(Pair pair) {
    String context = pair.context().stripTrailing();
    String continuation = pair.context().substring(context.length()) + pair.continuation();
    List<Integer> ids = new ArrayList<>();
    if (context.isEmpty()) {
      ids.add(model.prefixTokenId());
      ids.addAll(model.encode(continuation));
      return Encoded.of(ids, 1, model.context());
    }
    ids.addAll(model.bosTokens());
    ids.addAll(model.encode(context + continuation));
    int from = model.bosTokens().size() + model.encode(context).size();
    return Encoded.of(ids, Math.min(from, ids.size() - 1), model.context());
  }

  /** Each token once, behind at least one other; the last window has all that fits before it. */
  private List<Encoded> windows(String text) {
    List<Integer> ids = new ArrayList<>(List.of(model.prefixTokenId()));
    ids.addAll(model.encode(text));
    int most = model.context() - 1; // new tokens of a window
    List<Encoded> windows = new ArrayList<>();
    for (int next = 1; next < ids.size(); next += most) {
      int end = Math.min(next + most, ids.size());
      int start = Math.max(0, end - model.context());
      windows.add(new Encoded(ids.subList(start, end), next - start, false));
    }
    return windows;
  }

  private List<Outcome> write(List<Item> items) {
    int most = spec.maxGenToks();
    int room = model.context() - most;
    if (room < 1) {
      throw new ConfigException(
          "%s: answers of %d tokens do not fit the model's context of %d; use --max-tokens"
              .formatted(spec.task(), most, model.context()));
    }
    DecodingMethod how = decoding.decoding(model.exits(), most, name -> "--" + name);
    List<Writer> writers = new ArrayList<>();
    List<Request> works = new ArrayList<>();
    for (Item item : items) {
      Question.GenerateUntil question = (Question.GenerateUntil) item.question();
      List<Integer> ids = new ArrayList<>(model.bosTokens());
      ids.addAll(model.encode(question.prompt()));
      if (ids.isEmpty()) {
        ids.add(model.prefixTokenId());
      }
      List<Integer> prompt = ids.subList(Math.max(0, ids.size() - room), ids.size());
      writers.add(new Writer(model.detokenizer(prompt), spec.until()));
      Sampler sampler =
          spec.temperature() == 0
              ? Sampler.greedy()
              : new RandomSampler(spec.temperature(), 0, 1, 1, seed + item.index());
      works.add(new Request(prompt, most, model.endTokens(), how, sampler));
    }
    List<Result> results = model.run(works, (i, token) -> writers.get(i).accept(token));
    List<Outcome> outcomes = new ArrayList<>();
    for (int i = 0; i < items.size(); i++) {
      Item item = items.get(i);
      Question.GenerateUntil question = (Question.GenerateUntil) item.question();
      List<GeneratedToken> tokens = results.get(i).tokens();
      boolean truncated = model.bosTokens().size() + model.encode(question.prompt()).size() > room;
      outcomes.add(
          new Outcome.Written(
              item.index(),
              item.subtask(),
              truncated,
              writers.get(i).text(),
              question.references(),
              tokens.size(),
              tokens.stream().mapToInt(GeneratedToken::layer).average().orElse(0)));
    }
    return outcomes;
  }

  /** Puts an answer's text together, up to where it is to end. */
  private static final class Writer {
    private final TextStream stream;
    private final StringBuilder text = new StringBuilder();

    Writer(Detokenizer detokenizer, List<String> stops) {
      stream = new TextStream(detokenizer, stops);
    }

    Reaction accept(GeneratedToken token) {
      text.append(stream.append(token.id()));
      return stream.stopped() ? Reaction.STOP : Reaction.CONTINUE;
    }

    String text() {
      return text.append(stream.finish()).toString();
    }
  }
}

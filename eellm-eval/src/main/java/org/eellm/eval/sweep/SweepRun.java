package org.eellm.eval.sweep;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.Function;
import java.util.stream.IntStream;
import java.util.zip.CRC32C;
import org.eellm.config.HeadId;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.Result;
import org.eellm.decode.request.ScoreListener;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.token.GeneratedToken;
import org.eellm.decode.token.Prediction;
import org.eellm.eval.EvalProgress;
import org.eellm.eval.GreedyContinuation;
import org.eellm.eval.Json;
import org.eellm.eval.sweep.Sweep.FreeRunning;
import org.eellm.eval.sweep.Sweep.Row;
import org.eellm.eval.task.OutcomeFile;

/**
 * Measures ways to decode.
 *
 * <p>First the full model continues some prompts greedily. Then every setting goes through these
 * same texts, one at a time: it says its own next token, which counts as agreement if it is the
 * full model's, and is then given the full model's. So all do the same work on the same text, and
 * one early slip does not count again and again. Speculation, whose text is the full model's
 * anyway, writes by itself. A text's time is the shortest of rounds in which all settings take
 * turns with the full model, beyond what the full model takes to the first token: the same is left
 * out in all ways, also where a prompt's rows leave early, and go on later.
 */
public final class SweepRun {
  /** Settings that take turns, so that what is lost by stopping is little. */
  private static final int CHUNK = 10;

  private final Function<List<Request>, List<Result>> generator;
  private final List<Integer> exits;
  private final Set<Integer> endTokens;
  private final int maxTokens;
  private final List<GreedyContinuation> texts = new ArrayList<>();

  /** One way through all texts. */
  private record Pass(List<Result> results, double agreement) {}

  /**
   * Lets the full model write.
   *
   * @param generator continues texts one at a time, on the calling thread
   * @param exits layers of the model's exits
   * @param endTokens ids that end a text
   * @param maxTokens of a text
   */
  public SweepRun(
      Function<List<Request>, List<Result>> generator,
      List<Integer> exits,
      Set<Integer> endTokens,
      List<List<Integer>> prompts,
      int maxTokens) {
    this.generator = generator;
    this.exits = List.copyOf(exits);
    this.endTokens = Set.copyOf(endTokens);
    this.maxTokens = maxTokens;
    List<Result> results = write(prompts, DecodingMethod.full());
    for (int i = 0; i < prompts.size(); i++) {
      texts.add(new GreedyContinuation(prompts.get(i), results.get(i).ids()));
    }
  }

  private int tokens() {
    return texts.stream().mapToInt(text -> text.continuation().size()).sum();
  }

  /**
   * Measures a few settings, without own texts.
   *
   * @param rounds at least 1
   */
  public Sweep measure(List<SweepSetting> settings, int rounds) {
    List<Row> rows = rows(settings, rounds);
    return new Sweep(
        texts.size(),
        tokens(),
        rounds,
        fullTokensPerSecond(rows),
        Optional.empty(),
        new LinkedHashMap<>(),
        rows);
  }

  private List<Row> rows(List<SweepSetting> settings, int rounds) {
    List<DecodingMethod> decodings = new ArrayList<>(List.of(DecodingMethod.full()));
    decodings.add(decoding(SweepSetting.atThreshold(1)));
    settings.forEach(setting -> decodings.add(decoding(setting)));
    List<Pass> passes = decodings.stream().map(this::pass).toList();
    double[][] first = infinite(decodings.size()); // shortest seconds to a text's first token
    double[][] after = infinite(decodings.size()); // and from there on
    double[][] ofRound = new double[decodings.size()][rounds];
    for (int round = 0; round < rounds; round++) {
      double prompts = 0; // in this round of the full model
      for (int i = 0; i < decodings.size(); i++) {
        List<Result> results = pass(decodings.get(i)).results();
        for (int text = 0; text < results.size(); text++) {
          // Every round does the same work on a text, and a shared machine only ever slows it.
          Result result = results.get(text);
          double rest = result.seconds() - result.firstTokenSeconds();
          first[i][text] = Math.min(first[i][text], result.firstTokenSeconds());
          after[i][text] = Math.min(after[i][text], rest);
        }
        double firsts = results.stream().mapToDouble(Result::firstTokenSeconds).sum();
        prompts = i == 0 ? firsts : prompts;
        double all = results.stream().mapToDouble(Result::seconds).sum();
        ofRound[i][round] = positive(all - prompts);
      }
    }
    double[] times = new double[decodings.size()];
    Arrays.setAll(times, i -> positive(sum(first[i]) - sum(first[0]) + sum(after[i])));
    double full = times[0];
    Sweep.Control control = new Sweep.Control(full / times[1], spread(ofRound[0], ofRound[1]));
    List<Row> rows = new ArrayList<>();
    for (int i = 0; i < settings.size(); i++) {
      double time = times[i + 2];
      Pass pass = passes.get(i + 2);
      List<GeneratedToken> tokens =
          pass.results().stream().flatMap(result -> result.tokens().stream()).toList();
      rows.add(
          new Row(
              settings.get(i),
              shares(tokens),
              tokens.stream().mapToInt(GeneratedToken::layer).average().orElse(0),
              (tokens() - texts.size()) / time,
              full / time,
              Optional.of(spread(ofRound[0], ofRound[i + 2])),
              Optional.of(control),
              pass.agreement(),
              acceptance(pass.results()),
              Optional.empty(),
              new LinkedHashMap<>()));
    }
    return rows;
  }

  /**
   * Measures many settings, some at a time, so that a run that was stopped loses little.
   *
   * @param rounds at least 1
   * @param file of what was measured already, and of what will be
   * @param about all else that figures depend on, for people
   * @param tasks that every setting does
   * @throws org.eellm.config.ConfigException if the file is of another sweep
   */
  public Sweep measure(
      List<SweepSetting> settings,
      int rounds,
      Path file,
      String about,
      SweepTasks tasks,
      EvalProgress progress) {
    OutcomeFile<Row> known =
        new OutcomeFile<>(file, fingerprint(settings, rounds, about), Row.class);
    int done = known.outcomes().size();
    while (done < settings.size()) {
      progress.report("settings", done, settings.size());
      List<SweepSetting> some = settings.subList(done, Math.min(done + CHUNK, settings.size()));
      known.add(
          rows(some, rounds).stream()
              .map(
                  row ->
                      row.with(
                          ownTexts(row.setting()),
                          tasks.scores(row.setting().name(), row.setting().decoding())))
              .toList());
      done = known.outcomes().size();
    }
    progress.report("settings", done, settings.size());
    return new Sweep(
        texts.size(),
        tokens(),
        rounds,
        fullTokensPerSecond(known.outcomes()),
        Optional.of(perplexity(texts)),
        tasks.scores("full", SweepTasks.FULL),
        known.outcomes());
  }

  private String fingerprint(List<SweepSetting> settings, int rounds, String about) {
    CRC32C checksum = new CRC32C();
    checksum.update(Json.line(texts).getBytes(StandardCharsets.UTF_8));
    Map<String, Object> all = new TreeMap<>(); // in an order that is the same in every run
    all.put("about", about);
    all.put("settings", settings);
    all.put("rounds", rounds);
    all.put("max_tokens", maxTokens);
    all.put("texts", checksum.getValue());
    return Json.line(all);
  }

  private static double fullTokensPerSecond(List<Row> rows) {
    return rows.stream().mapToDouble(row -> row.tokensPerSecond() / row.speedUp()).max().orElse(0);
  }

  /** Lets a setting write by itself, and asks the full model what it thinks of that. */
  private FreeRunning ownTexts(SweepSetting setting) {
    List<Result> results =
        write(texts.stream().map(GreedyContinuation::prompt).toList(), decoding(setting));
    List<GreedyContinuation> own = new ArrayList<>();
    for (int i = 0; i < texts.size(); i++) {
      own.add(new GreedyContinuation(texts.get(i).prompt(), results.get(i).ids()));
    }
    long same = own.stream().filter(texts::contains).count();
    return new FreeRunning((double) same / own.size(), perplexity(own));
  }

  private static double sum(double[] seconds) {
    return Arrays.stream(seconds).sum();
  }

  /** Never 0, which texts of a single token would take. */
  private static double positive(double seconds) {
    return Math.max(1e-9, seconds);
  }

  private double[][] infinite(int settings) {
    double[][] all = new double[settings][texts.size()];
    for (double[] each : all) {
      Arrays.fill(each, Double.POSITIVE_INFINITY);
    }
    return all;
  }

  private static Sweep.Spread spread(double[] full, double[] other) {
    double[] ratios =
        IntStream.range(0, full.length).mapToDouble(i -> full[i] / other[i]).toArray();
    return new Sweep.Spread(
        Arrays.stream(ratios).min().orElse(1), Arrays.stream(ratios).max().orElse(1));
  }

  private DecodingMethod decoding(SweepSetting setting) {
    return setting.decoding().decoding(exits, maxTokens, name -> "--" + name);
  }

  private List<Result> write(List<List<Integer>> prompts, DecodingMethod decoding) {
    return generator.apply(
        prompts.stream()
            .map(prompt -> new Request(prompt, maxTokens, endTokens, decoding, Sampler.greedy()))
            .toList());
  }

  /** Of continuations to the full model, given their prompts. */
  private double perplexity(List<GreedyContinuation> of) {
    List<Request> requests = new ArrayList<>();
    for (GreedyContinuation text : of) {
      List<Integer> ids = new ArrayList<>(text.prompt());
      ids.addAll(text.continuation());
      requests.add(
          Request.score(ids, text.prompt().size(), List.of(HeadId.FINAL), ScoreListener.none()));
    }
    double mean =
        generator.apply(requests).stream()
            .flatMap(result -> result.tokens().stream())
            .mapToDouble(GeneratedToken::logProbability)
            .average()
            .orElseThrow();
    return Math.exp(-mean);
  }

  private Pass pass(DecodingMethod decoding) {
    List<TeacherForcedSampler> dictations = texts.stream().map(TeacherForcedSampler::new).toList();
    boolean own =
        decoding instanceof DecodingMethod.Speculative
            || decoding instanceof DecodingMethod.AdaptiveDrafts;
    List<Request> requests =
        dictations.stream()
            .map(
                dictation ->
                    new Request(
                        dictation.text.prompt(),
                        dictation.text.continuation().size(),
                        Set.of(),
                        decoding,
                        own ? Sampler.greedy() : dictation))
            .toList();
    List<Result> results = generator.apply(requests);
    int same = 0;
    for (int i = 0; i < results.size(); i++) {
      same += own ? dictations.get(i).same(results.get(i).ids()) : dictations.get(i).same;
    }
    return new Pass(results, (double) same / tokens());
  }

  private SequencedMap<HeadId, Double> shares(List<GeneratedToken> tokens) {
    SequencedMap<HeadId, Double> shares = new LinkedHashMap<>();
    for (HeadId head : HeadId.all(exits)) {
      long count = tokens.stream().filter(token -> token.head().equals(head)).count();
      shares.put(head, (double) count / tokens.size());
    }
    return shares;
  }

  private static Optional<Double> acceptance(List<Result> results) {
    int drafted = results.stream().mapToInt(result -> result.usage().draftedTokens()).sum();
    int accepted = results.stream().mapToInt(result -> result.usage().acceptedTokens()).sum();
    return drafted == 0 ? Optional.empty() : Optional.of((double) accepted / drafted);
  }

  /** Goes on with the full model's token, whatever the head says, and counts where they agree. */
  private static final class TeacherForcedSampler implements Sampler {
    private final GreedyContinuation text;
    private int same;

    TeacherForcedSampler(GreedyContinuation text) {
      this.text = text;
    }

    /** As greedy sampling does, whose speed and tokens it measures. */
    @Override
    public boolean takesBest() {
      return true;
    }

    @Override
    public int next(Prediction prediction) {
      int id = text.continuation().get(prediction.position() - text.prompt().size());
      if (prediction.best() == id) {
        same++;
      }
      return id;
    }

    /** How many of another text's tokens are this one's at the same place. */
    int same(List<Integer> ids) {
      int count = 0;
      for (int i = 0; i < ids.size(); i++) {
        count += ids.get(i).equals(text.continuation().get(i)) ? 1 : 0;
      }
      return count;
    }
  }
}

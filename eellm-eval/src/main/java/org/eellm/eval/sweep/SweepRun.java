package org.eellm.eval.sweep;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.function.IntConsumer;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import java.util.zip.CRC32C;
import org.eellm.config.HeadId;
import org.eellm.cost.Median;
import org.eellm.decode.exit.PolicyName;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.DecodingSetting;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.Result;
import org.eellm.decode.request.ScoreListener;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.speculate.DraftMemory;
import org.eellm.decode.speculate.DraftSource;
import org.eellm.decode.token.GeneratedToken;
import org.eellm.decode.token.Prediction;
import org.eellm.eval.EvalException;
import org.eellm.eval.EvalProgress;
import org.eellm.eval.GreedyContinuation;
import org.eellm.eval.SnakeCaseJson;
import org.eellm.eval.sweep.Sweep.Failure;
import org.eellm.eval.sweep.Sweep.FreeRunning;
import org.eellm.eval.sweep.Sweep.Row;
import org.eellm.eval.sweep.Sweep.Spread;
import org.eellm.eval.sweep.TimedWork.Pass;
import org.eellm.eval.task.OutcomeFile;

/**
 * Measures ways to decode.
 *
 * <p>First the full model continues some prompts, under {@link SweepConditions}. Then every setting
 * goes through these same texts: it says its own next token, which counts as agreement if it is the
 * full model's, and is then given the full model's. So all do the same work on the same text, and
 * one early slip does not count again and again. Speculation, whose text is the full model's
 * anyway, writes by itself. What is drawn is drawn with the full model's seed and so its chance.
 *
 * <p>All settings take turns, in rounds, with the full model between each few: a setting is
 * compared with the full model shortly before and shortly after, so that a processor whose speed
 * drifts favours none. A time is that of all texts, beyond what the full model takes to the first
 * tokens: the same is left out in all ways, also where a prompt's rows leave early, and go on
 * later. Where they leave for good, at a fixed exit, it is the time that this takes to the first
 * tokens. Of texts that run together, the last first token and the last token count. A setting's
 * speed-up is the median of the rounds' ratios, so it lies within their range. The fastest round of
 * each would favour what varies most.
 */
public final class SweepRun {
  /** Settings that take turns, so that what is lost by stopping is little. */
  private static final int CHUNK = 10;

  /** The control, which takes part in all rounds. */
  private static final int REFERENCES = 1;

  private final Function<List<Request>, List<Result>> generator;
  private final List<Integer> exits;
  private final Set<Integer> endTokens;
  private final int maxTokens;
  private final SweepConditions conditions;
  private final List<GreedyContinuation> texts;
  private final double secondsPerToken; // of the full model, in the fastest of the texts

  /**
   * Lets the full model write.
   *
   * @param generator continues texts on the calling thread: so many at a time as the conditions
   *     say, and then the next ones
   * @param exits layers of the model's exits
   * @param endTokens ids that end a text
   * @param maxTokens of a text
   */
  public SweepRun(
      Function<List<Request>, List<Result>> generator,
      List<Integer> exits,
      Set<Integer> endTokens,
      List<List<Integer>> prompts,
      int maxTokens,
      SweepConditions conditions) {
    this.generator = generator;
    this.exits = List.copyOf(exits);
    this.endTokens = Set.copyOf(endTokens);
    this.maxTokens = maxTokens;
    this.conditions = conditions;
    List<Result> results = write(prompts, DecodingMethod.full());
    texts =
        IntStream.range(0, prompts.size())
            .mapToObj(i -> new GreedyContinuation(prompts.get(i), results.get(i).ids()))
            .toList();
    secondsPerToken =
        results.stream()
            .mapToDouble(result -> result.seconds() / Math.max(1, result.ids().size()))
            .min()
            .orElse(0);
  }

  /** Under the usual conditions. */
  public SweepRun(
      Function<List<Request>, List<Result>> generator,
      List<Integer> exits,
      Set<Integer> endTokens,
      List<List<Integer>> prompts,
      int maxTokens) {
    this(generator, exits, endTokens, prompts, maxTokens, SweepConditions.USUAL);
  }

  private SweepRun(SweepRun of, List<GreedyContinuation> texts) {
    generator = of.generator;
    exits = of.exits;
    endTokens = of.endTokens;
    maxTokens = of.maxTokens;
    conditions = of.conditions;
    secondsPerToken = of.secondsPerToken;
    this.texts = texts;
  }

  /** The full model's texts. */
  public List<GreedyContinuation> texts() {
    return texts;
  }

  /** A run with as few of the first texts as the full model writes in so many seconds, or two. */
  SweepRun within(double seconds) {
    int count = 0;
    double spent = 0;
    while (count < texts.size() && (count < 2 || spent < seconds)) {
      spent += secondsPerToken * texts.get(count).continuation().size();
      count++;
    }
    return new SweepRun(this, texts.subList(0, count));
  }

  /** Speeds leave a text's first token out. */
  private int tokensAfterFirst() {
    return tokens() - texts.size();
  }

  private int tokens() {
    return texts.stream().mapToInt(text -> text.continuation().size()).sum();
  }

  /**
   * Measures a few settings, without own texts.
   *
   * @param rounds at least 1
   */
  public Sweep measure(List<SweepSetting> settings, int rounds, EvalProgress progress) {
    List<Row> rows =
        rows(
            settings,
            rounds,
            done -> progress.report("passes", done, passes(settings, rounds)),
            failure -> {
              throw failure.cause();
            });
    return sweep(rounds, rows, List.of());
  }

  /** Without own texts and scores. */
  private Sweep sweep(int rounds, List<Row> rows, List<Failure> failures) {
    return new Sweep(
        conditions,
        texts.size(),
        tokens(),
        rounds,
        TimedWork.WARM_UP_ROUNDS,
        Median.of(rows.stream().map(row -> row.control().fullTokensPerSecond()).toList()),
        Optional.empty(),
        new LinkedHashMap<>(),
        rows,
        failures);
  }

  /** Times that all texts are passed through, by the full model, too. */
  static int passes(List<SweepSetting> settings, int rounds) {
    return TimedWork.passes(REFERENCES + settings.size(), rounds);
  }

  /**
   * Measures settings that take turns.
   *
   * @param passed is told after each pass how many there were
   * @param failed is told of a setting that fails, which has no row; the others go on
   */
  private List<Row> rows(
      List<SweepSetting> settings, int rounds, IntConsumer passed, Consumer<Failure> failed) {
    TimedWork control =
        new TimedWork(
            () -> pass(control()),
            false,
            failure -> {
              throw failure;
            });
    SequencedMap<TimedWork, SweepSetting> works = new LinkedHashMap<>();
    for (SweepSetting setting : settings) {
      works.put(
          new TimedWork(
              () -> pass(decoding(setting)),
              setting.get(DecodingSetting.POLICY).equals(Optional.of(PolicyName.FIXED)),
              failure -> failed.accept(new Failure(setting, failure))),
          setting);
    }
    List<TimedWork> all = Stream.concat(Stream.of(control), works.keySet().stream()).toList();
    List<TimedWork> whole = TimedWork.run(all, rounds, () -> pass(DecodingMethod.full()), passed);
    double[] even = control.speedUps();
    Sweep.Control controlled =
        new Sweep.Control(
            Median.of(even), Spread.of(even), tokensAfterFirst() / control.medianFullSeconds());
    List<Row> rows = new ArrayList<>();
    for (TimedWork work : whole.subList(REFERENCES, whole.size())) {
      double[] speedUps = work.speedUps();
      Pass pass = work.last();
      List<GeneratedToken> tokens =
          pass.results().stream().flatMap(result -> result.tokens().stream()).toList();
      rows.add(
          new Row(
              Objects.requireNonNull(works.get(work)),
              shares(tokens),
              tokens.stream().mapToInt(GeneratedToken::layer).average().orElse(0),
              tokensAfterFirst() / work.medianSeconds(),
              Median.of(speedUps),
              Spread.of(speedUps),
              (double) tokens.size() / (tokens.size() - accepted(pass.results())),
              controlled,
              pass.agreement(),
              acceptance(pass.results()),
              Optional.empty(),
              new LinkedHashMap<>()));
    }
    return rows;
  }

  /**
   * Measures many settings, some at a time, so that a run that was stopped loses little. One that
   * fails has no row, and is tried again by the next run. So is one that was timed while the
   * machine was busy; what it wrote stays.
   *
   * @param rounds at least 1
   * @param file of what was measured already, and of what will be
   * @param about all else that figures depend on, for people
   * @param tasks that every setting does
   * @throws org.eellm.config.ConfigException if the file is of another sweep
   * @throws EvalException if no setting could be measured
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
    Pace timing = new Pace();
    Pace writing = new Pace();
    List<Failure> failures = new ArrayList<>();
    List<SweepSetting> asked =
        settings.stream().filter(setting -> !isTimed(known.outcomes(), setting)).toList();
    int before = settings.size() - asked.size();
    for (int from = 0; from < asked.size(); from += CHUNK) {
      int end = Math.min(from + CHUNK, asked.size());
      List<SweepSetting> some = asked.subList(from, end);
      String work =
          "passes, settings %d to %d of %d"
              .formatted(before + from + 1, before + end, settings.size());
      int passes = passes(some, rounds);
      timing.start();
      List<Row> timed =
          rows(some, rounds, count -> progress.report(work, count, passes), failures::add);
      timing.end(some.size());
      List<Row> whole = new ArrayList<>();
      for (Row row : timed) {
        writing.start();
        try {
          Optional<Row> earlier = Sweep.row(known.outcomes(), row.setting());
          whole.add(
              earlier.isPresent()
                  ? row.with(earlier.get().own().orElseThrow(), earlier.get().scores())
                  : row.with(
                      ownTexts(row.setting()),
                      tasks.scores(row.setting().name(), row.setting().decoding())));
        } catch (RuntimeException e) {
          failures.add(new Failure(row.setting(), e));
          continue;
        }
        writing.end(1);
        int left = asked.size() - from - whole.size();
        double seconds = timing.seconds(asked.size() - end) + writing.seconds(left);
        progress.finished(
            "%s; %d of %d settings left%s"
                .formatted(
                    row.line(), left, settings.size(), left == 0 ? "" : ", " + about(seconds)));
      }
      known.add(whole);
    }
    List<Row> rows =
        settings.stream()
            .flatMap(setting -> Sweep.row(known.outcomes(), setting).stream())
            .toList();
    if (rows.isEmpty()) {
      Failure first = failures.getFirst();
      throw new EvalException(
          "no setting could be measured: %s: %s".formatted(first.setting().label(), first.reason()),
          first.cause());
    }
    return sweep(rounds, rows, failures)
        .with(perplexity(texts), tasks.scores("full", SweepTasks.FULL));
  }

  private static boolean isTimed(List<Row> rows, SweepSetting setting) {
    return Sweep.row(rows, setting).filter(row -> row.control().holds()).isPresent();
  }

  private static String about(double seconds) {
    return seconds < 90
        ? "about %.0f s".formatted(seconds)
        : "about %.0f minutes".formatted(seconds / 60);
  }

  /** How long a kind of work takes a setting. */
  private static final class Pace {
    private long start;
    private double seconds;
    private int settings;

    void start() {
      start = System.nanoTime();
    }

    void end(int count) {
      seconds += (System.nanoTime() - start) / 1e9;
      settings += count;
    }

    /** The seconds that so many more will take. */
    double seconds(int left) {
      return seconds / settings * left;
    }
  }

  private String fingerprint(List<SweepSetting> settings, int rounds, String about) {
    CRC32C checksum = new CRC32C();
    checksum.update(SnakeCaseJson.line(texts).getBytes(StandardCharsets.UTF_8));
    Map<String, Object> all = new TreeMap<>(); // in an order that is the same in every run
    all.put("about", about);
    all.put("settings", settings);
    all.put("rounds", rounds);
    all.put("max_tokens", maxTokens);
    all.put("texts", checksum.getValue());
    if (!conditions.equals(SweepConditions.USUAL)) {
      all.put("conditions", conditions);
    }
    return SnakeCaseJson.line(all);
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

  /** What does just as the full model does, and shows how even the machine is. */
  private DecodingMethod control() {
    return exits.isEmpty() ? DecodingMethod.full() : decoding(SweepSetting.atThreshold(1));
  }

  /**
   * Drafts come from a text itself, unless the setting says more: in each round all texts are the
   * same again.
   */
  private DecodingMethod decoding(SweepSetting setting) {
    DecodingMethod method = setting.decoding().decoding(exits, maxTokens, name -> "--" + name);
    return method instanceof DecodingMethod.AdaptiveDrafts(DraftSource source, DraftMemory _)
            && setting.get(DecodingSetting.DRAFT_MEMORY).isEmpty()
        ? new DecodingMethod.AdaptiveDrafts(source, DraftMemory.OWN)
        : method;
  }

  private List<Result> write(List<List<Integer>> prompts, DecodingMethod decoding) {
    return generator.apply(
        IntStream.range(0, prompts.size())
            .mapToObj(
                i ->
                    new Request(
                        prompts.get(i), maxTokens, endTokens, decoding, conditions.sampler(i)))
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
    List<TeacherForcedSampler> dictations =
        IntStream.range(0, texts.size())
            .mapToObj(i -> new TeacherForcedSampler(texts.get(i), conditions.sampler(i)))
            .toList();
    boolean own =
        decoding instanceof DecodingMethod.Speculative
            || decoding instanceof DecodingMethod.OfSource;
    List<Request> requests =
        dictations.stream()
            .map(
                dictation ->
                    new Request(
                        dictation.text.prompt(),
                        dictation.text.continuation().size(),
                        Set.of(),
                        decoding,
                        own ? dictation.sampler : dictation))
            .toList();
    List<Result> results = generator.apply(requests);
    int same = 0;
    for (int i = 0; i < results.size(); i++) {
      same += own ? dictations.get(i).same(results.get(i).ids()) : dictations.get(i).same;
    }
    return new Pass(results, (double) same / tokens(), conditions.batchSize());
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
    return drafted == 0 ? Optional.empty() : Optional.of((double) accepted(results) / drafted);
  }

  private static int accepted(List<Result> results) {
    return results.stream().mapToInt(result -> result.usage().acceptedTokens()).sum();
  }

  /** Goes on with the full model's token, whatever the head says, and counts where they agree. */
  private static final class TeacherForcedSampler implements Sampler {
    private final GreedyContinuation text;
    private final Sampler sampler;
    private int same;

    /**
     * @param sampler whose speed and tokens it measures
     */
    TeacherForcedSampler(GreedyContinuation text, Sampler sampler) {
      this.text = text;
      this.sampler = sampler;
    }

    @Override
    public boolean takesBest() {
      return sampler.takesBest();
    }

    @Override
    public int next(Prediction prediction) {
      int id = text.continuation().get(prediction.position() - text.prompt().size());
      if (sampler.next(prediction) == id) {
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

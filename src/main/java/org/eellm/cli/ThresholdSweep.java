package org.eellm.cli;

import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.SequencedMap;
import java.util.Set;
import org.eellm.generate.ExitPolicies;
import org.eellm.generate.ExitPolicy;
import org.eellm.generate.GeneratedToken;
import org.eellm.generate.Generator;
import org.eellm.generate.Limits;
import org.eellm.generate.Prediction;
import org.eellm.generate.Request;
import org.eellm.generate.Result;
import org.eellm.generate.Sampler;
import org.eellm.generate.Threshold;
import org.eellm.generate.TokenListener;
import org.eellm.model.Head;

/**
 * What early exits gain and what they change, at several thresholds.
 *
 * <p>First the full model continues some prompts greedily. Then every threshold goes through these
 * same texts, one prompt at a time: it says its own next token, which counts as agreement if it is
 * the full model's, and is then given the full model's. So all do the same work on the same text,
 * and one early slip does not count again and again. Speeds are the fastest of rounds in which all
 * thresholds take turns, with the prompts' own tokens in the time.
 *
 * @param prompts number of texts
 * @param tokens of all texts, prompts not counted
 * @param rounds times that each speed was measured
 * @param fullTokensPerSecond of the full model, whose exits are not computed
 * @param rows one for each threshold, in the order given
 */
record ThresholdSweep(
    int prompts, int tokens, int rounds, double fullTokensPerSecond, List<Row> rows) {

  /**
   * One threshold on the tokens' largest probability.
   *
   * @param shares of the tokens that left at each head, shallowest first
   * @param speedUp over the full model
   * @param agreement share of the tokens that are the full model's
   */
  record Row(
      double threshold,
      SequencedMap<String, Double> shares,
      double tokensPerSecond,
      double speedUp,
      double agreement) {}

  /**
   * Measures on the calling thread.
   *
   * @param maxTokens of a text
   * @param rounds at least 1
   */
  static ThresholdSweep measure(
      LoadedModel model, List<String> prompts, List<Double> thresholds, int maxTokens, int rounds) {
    Runner runner = new Runner(model);
    List<Text> texts = runner.fullTexts(prompts, maxTokens);
    int tokens = texts.stream().mapToInt(text -> text.continuation().size()).sum();

    List<ExitPolicy> policies = new ArrayList<>(List.of(ExitPolicies.full()));
    thresholds.forEach(
        threshold -> policies.add(ExitPolicies.maxProbability(Threshold.of(threshold))));
    List<Pass> passes = policies.stream().map(policy -> runner.pass(texts, policy)).toList();

    double[][] seconds = new double[policies.size()][rounds];
    for (int round = 0; round < rounds; round++) {
      for (int i = 0; i < policies.size(); i++) {
        seconds[i][round] = runner.pass(texts, policies.get(i)).seconds();
      }
    }
    double full = fastest(seconds[0]);
    List<Row> rows = new ArrayList<>();
    for (int i = 0; i < thresholds.size(); i++) {
      double time = fastest(seconds[i + 1]);
      Pass pass = passes.get(i + 1);
      rows.add(
          new Row(thresholds.get(i), pass.shares(), tokens / time, full / time, pass.agreement()));
    }
    return new ThresholdSweep(texts.size(), tokens, rounds, tokens / full, List.copyOf(rows));
  }

  /** Prints the table. */
  void print(PrintWriter out) {
    List<String> heads = List.copyOf(rows.getFirst().shares().keySet());
    out.print("threshold ");
    heads.forEach(head -> out.printf("%9s", head.replace('_', ' ')));
    out.println("   tokens/s  speed-up  agreement");
    out.print("full model");
    heads.forEach(head -> out.printf("%9s", head.equals(heads.getLast()) ? "100 %" : ""));
    out.printf("%,11.0f%10.2f%11s%n", fullTokensPerSecond, 1.0, "100.0 %");
    for (Row row : rows) {
      out.printf("%10.1f", row.threshold());
      row.shares().values().forEach(share -> out.printf("%7.0f %%", 100 * share));
      out.printf(
          "%,11.0f%10.2f%9.1f %%%n", row.tokensPerSecond(), row.speedUp(), 100 * row.agreement());
    }
    out.printf(
        "Measured on the full model's own %d tokens after %d held-out words; a threshold agrees"
            + " where%nits token, given the full model's text before it, is the full model's.%n",
        tokens, prompts);
  }

  /** Every round does the same work, and a shared machine only ever slows it. */
  private static double fastest(double[] seconds) {
    return Arrays.stream(seconds).min().orElseThrow();
  }

  /** A prompt and the full model's continuation. */
  private record Text(List<Integer> prompt, List<Integer> continuation) {}

  /** One way through all texts. */
  private record Pass(double seconds, SequencedMap<String, Double> shares, double agreement) {}

  private record Runner(LoadedModel model) {

    List<Text> fullTexts(List<String> prompts, int maxTokens) {
      List<Request> requests = new ArrayList<>();
      for (String prompt : prompts) {
        requests.add(
            new Request(
                model.prompt(prompt, prompt),
                maxTokens,
                model.endTokens(),
                ExitPolicies.full(),
                Sampler.greedy()));
      }
      List<Result> results = generate(requests);
      List<Text> texts = new ArrayList<>();
      for (int i = 0; i < results.size(); i++) {
        texts.add(new Text(requests.get(i).prompt(), results.get(i).ids()));
      }
      return texts;
    }

    Pass pass(List<Text> texts, ExitPolicy policy) {
      List<Dictation> dictations = texts.stream().map(Dictation::new).toList();
      List<Request> requests =
          dictations.stream().map(dictation -> dictation.request(policy)).toList();
      long start = System.nanoTime();
      List<Result> results = generate(requests);
      double seconds = (System.nanoTime() - start) / 1e9;

      int tokens = results.stream().mapToInt(result -> result.tokens().size()).sum();
      int same = dictations.stream().mapToInt(dictation -> dictation.same).sum();
      return new Pass(seconds, shares(results, tokens), (double) same / tokens);
    }

    private SequencedMap<String, Double> shares(List<Result> results, int tokens) {
      SequencedMap<String, Double> shares = new LinkedHashMap<>();
      for (Head head : model.decoder().allHeads()) {
        long count =
            results.stream()
                .flatMap(result -> result.tokens().stream())
                .map(GeneratedToken::head)
                .filter(head.name()::equals)
                .count();
        shares.put(head.name(), (double) count / tokens);
      }
      return shares;
    }

    private List<Result> generate(List<Request> requests) {
      Limits limits =
          Limits.of(model.decoder()).withVocabSize(model.tokenizer().vocabSize()).withBatchSize(1);
      return Generator.generate(model.decoder(), limits, requests, TokenListener.none());
    }
  }

  /** Goes on with the full model's token, whatever the head says, and counts where they agree. */
  private static final class Dictation implements Sampler {
    private final Text text;
    private int same;

    Dictation(Text text) {
      this.text = text;
    }

    Request request(ExitPolicy policy) {
      return new Request(text.prompt(), text.continuation().size(), Set.of(), policy, this);
    }

    @Override
    public int next(Prediction prediction) {
      int id = text.continuation().get(prediction.position() - text.prompt().size());
      if (prediction.best() == id) {
        same++;
      }
      return id;
    }
  }
}

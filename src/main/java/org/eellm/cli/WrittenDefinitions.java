package org.eellm.cli;

import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.List;
import org.eellm.generate.ExitPolicies;
import org.eellm.generate.ExitPolicy;
import org.eellm.generate.GeneratedToken;
import org.eellm.generate.Generator;
import org.eellm.generate.Limits;
import org.eellm.generate.Request;
import org.eellm.generate.Result;
import org.eellm.generate.Sampler;
import org.eellm.generate.Threshold;
import picocli.CommandLine.Help.Ansi;

/** A few definitions that the quickstart's model wrote, greedily and with early exits. */
final class WrittenDefinitions {
  private static final List<String> PROMPTS =
      List.of(
          "whale (noun):",
          "violin (noun):",
          "physicist (noun):",
          "whisper (verb):",
          "Paris (noun):",
          "quickly (adverb):");

  private static final double THRESHOLD = 0.3;

  private final LoadedModel model;
  private final Continuations continuations = new Continuations();
  private final List<Result> results;
  private final double seconds;

  /**
   * A text that was written.
   *
   * @param exits the layer that each token left at
   */
  record Definition(String prompt, String text, double threshold, List<Integer> exits) {}

  private WrittenDefinitions(LoadedModel model, int maxTokens) {
    this.model = model;
    ExitPolicy policy = ExitPolicies.maxProbability(Threshold.of(THRESHOLD));
    List<Request> requests = new ArrayList<>();
    for (String prompt : PROMPTS) {
      List<Integer> ids = model.prompt(prompt, prompt);
      requests.add(new Request(ids, maxTokens, model.endTokens(), policy, Sampler.greedy()));
      continuations.add(model.detokenizer(ids), List.of());
    }
    Limits limits = Limits.of(model.decoder()).withVocabSize(model.tokenizer().vocabSize());
    long start = System.nanoTime();
    results = Generator.generate(model.decoder(), limits, requests, continuations::accept);
    seconds = (System.nanoTime() - start) / 1e9;
    continuations.finish();
  }

  /** Lets a model write. */
  static WrittenDefinitions by(LoadedModel model, int maxTokens) {
    return new WrittenDefinitions(model, maxTokens);
  }

  List<Definition> list() {
    List<Definition> definitions = new ArrayList<>();
    for (int i = 0; i < PROMPTS.size(); i++) {
      List<Integer> exits = results.get(i).tokens().stream().map(GeneratedToken::layer).toList();
      definitions.add(new Definition(PROMPTS.get(i), continuations.text(i), THRESHOLD, exits));
    }
    return definitions;
  }

  /** Prints the texts; on a terminal each token has the colour of the head that it left at. */
  void print(PrintWriter out) {
    ExitColors colors = new ExitColors(model.architecture().exits().layers(), Ansi.AUTO);
    out.println();
    out.print("Definitions at threshold " + THRESHOLD);
    out.println(
        colors.enabled() ? ", each token in the colour of its head: " + colors.legend() : "");
    for (int i = 0; i < PROMPTS.size(); i++) {
      out.println("  " + PROMPTS.get(i) + continuations.painted(i, colors));
    }
    out.println(ExitSummary.of(results, seconds).line(model.architecture().model().numLayers()));
    out.println();
    out.flush();
  }
}

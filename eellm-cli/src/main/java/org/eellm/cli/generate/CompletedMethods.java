package org.eellm.cli.generate;

import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.List;
import org.eellm.cli.option.PlainOutput;
import org.eellm.decode.Generator;
import org.eellm.decode.LoadedModel;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.Result;
import org.eellm.decode.request.Result.FinishReason;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.token.GeneratedToken;
import org.eellm.eval.sweep.JavaMethods.Method;
import picocli.CommandLine.Help.Ansi;

/** Methods that a model completes, each beside what was really there. */
public final class CompletedMethods {
  /** How much is shown of a file before the body: the declaration, mostly. */
  private static final int SHOWN_LINES = 2;

  private final LoadedModel model;
  private final List<Method> methods;
  private final Continuations continuations = new Continuations();
  private final List<Result> results;
  private final double seconds;

  /**
   * A method that was completed.
   *
   * @param declaration the last lines before the body
   * @param exits the layer that each token left at
   */
  public record Completed(String declaration, String text, String original, List<Integer> exits) {}

  /** Lets a model complete methods greedily, from the last tokens before their bodies. */
  public CompletedMethods(
      LoadedModel model,
      List<Method> methods,
      DecodingMethod decoding,
      int promptTokens,
      int maxTokens) {
    this.model = model;
    this.methods = methods;
    List<Request> requests = new ArrayList<>();
    for (Method method : methods) {
      List<Integer> ids = prompt(model, method, promptTokens);
      requests.add(new Request(ids, maxTokens, model.endTokens(), decoding, Sampler.greedy()));
      continuations.add(model.detokenizer(ids), List.of(end(method)));
    }
    long start = System.nanoTime();
    results = Generator.generate(model.decoder(), model.limits(), requests, continuations::accept);
    seconds = (System.nanoTime() - start) / 1e9;
    continuations.finish();
  }

  /** The last tokens before a method's body. */
  public static List<Integer> prompt(LoadedModel model, Method method, int tokens) {
    List<Integer> ids = model.prompt(method.before(), "the method");
    return ids.subList(Math.max(0, ids.size() - tokens), ids.size());
  }

  /** The line that closes a method: nothing within it stands so far left. */
  private static String end(Method method) {
    String indentation = method.body().substring(method.body().lastIndexOf('\n') + 1);
    return "\n" + indentation;
  }

  private static String declaration(Method method) {
    List<String> lines = method.before().lines().toList();
    return String.join("\n", lines.subList(Math.max(0, lines.size() - SHOWN_LINES), lines.size()));
  }

  public List<Completed> list() {
    List<Completed> list = new ArrayList<>();
    for (int i = 0; i < methods.size(); i++) {
      Method method = methods.get(i);
      List<Integer> exits = results.get(i).tokens().stream().map(GeneratedToken::layer).toList();
      list.add(new Completed(declaration(method), continuations.text(i), method.body(), exits));
    }
    return list;
  }

  /** Prints the methods; on a terminal each token has the colour of the head that it came from. */
  public void print(PrintWriter terminal) {
    PrintWriter out = PlainOutput.raw(terminal);
    ExitColors colors = new ExitColors(model.architecture().exits().layers(), Ansi.AUTO);
    out.println();
    out.print("Methods of a library that the model never saw");
    out.println(
        colors.enabled() ? ", each token in the colour of its head: " + colors.legend() : "");
    for (int i = 0; i < methods.size(); i++) {
      Method method = methods.get(i);
      out.println();
      boolean ended = results.get(i).reason() == FinishReason.STOPPED;
      out.print(declaration(method) + continuations.painted(i, colors));
      out.println(ended ? end(method) : "");
      out.println("  really:" + method.body());
    }
    out.println();
    out.println(ExitSummary.of(results, seconds).line(model.architecture().model().numLayers()));
    out.println();
  }
}

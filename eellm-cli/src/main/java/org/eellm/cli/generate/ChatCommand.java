package org.eellm.cli.generate;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import org.eellm.cli.option.ModelOptions;
import org.eellm.config.ConfigException;
import org.eellm.config.HeadId;
import org.eellm.decode.Engine;
import org.eellm.decode.LoadedModel;
import org.eellm.decode.request.GenerateException;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.RequestHandle;
import org.eellm.decode.request.RequestListener;
import org.eellm.decode.request.Result;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.token.GeneratedToken;
import org.eellm.decode.token.TextStream;
import org.eellm.decode.token.TokenListener.Reaction;
import org.jline.utils.Signals;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Help.Ansi;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code eellm chat}: a dialogue in the terminal, every token in the colour of its exit. */
@Command(
    name = "chat",
    description = {
      "Talks in the terminal, every token in the colour of the exit it left at.",
      "Each line is a message; /new begins anew, /exit or the end of input ends, Ctrl-C ends an"
          + " answer."
    })
public final class ChatCommand implements Callable<Integer> {

  @Spec private CommandSpec spec;
  @Mixin private ModelOptions modelOptions;
  @Mixin private DecodingOptions decodingOptions;
  @Mixin private SamplingOptions samplingOptions;

  @Option(
      names = "--system",
      paramLabel = "TEXT",
      defaultValue = "",
      description = "What stands in front of the dialogue; nothing by default.")
  private String system;

  @Option(
      names = "--max-tokens",
      paramLabel = "N",
      defaultValue = "256",
      description = "Most tokens of an answer; ${DEFAULT-VALUE} by default.")
  private int maxTokens;

  @Override
  public Integer call() throws IOException {
    Sampler sampler = samplingOptions.sampler();
    if (maxTokens < 1) {
      throw new ConfigException("--max-tokens: " + maxTokens + " is below 1; use 1 or more");
    }
    try (LoadedModel model = modelOptions.load()) {
      Limits limits =
          Limits.of(model.decoder())
              .withVocabulary(model.vocabulary())
              .withMaxPending(decodingOptions.maxPending());
      decodingOptions.require(
          model.decoder(), maxTokens); // says what is wrong before the first message
      try (Engine engine = Engine.start(model.decoder(), limits)) {
        talk(model, engine, sampler);
      }
    }
    return ExitCode.OK;
  }

  private void talk(LoadedModel model, Engine engine, Sampler sampler) throws IOException {
    PrintWriter err = spec.commandLine().getErr();
    List<Integer> exits = model.architecture().exits().layers();
    ExitColors colors = new ExitColors(exits, Ansi.AUTO);
    if (colors.enabled() && !exits.isEmpty()) {
      err.println(colors.legend());
    }
    Dialogue dialogue = new Dialogue(system);
    BufferedReader lines =
        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    while (true) {
      err.print("> ");
      err.flush();
      String line = lines.readLine();
      if (line == null || line.strip().equals("/exit")) {
        return;
      }
      if (line.strip().equals("/new")) {
        dialogue.clear();
      } else if (!line.isBlank()) {
        try {
          answer(line.strip(), dialogue, model, engine, sampler, colors);
        } catch (GenerateException e) {
          err.println("eellm: " + e.getMessage());
        }
      }
    }
  }

  private void answer(
      String message,
      Dialogue dialogue,
      LoadedModel model,
      Engine engine,
      Sampler sampler,
      ExitColors colors) {
    List<Integer> ids = model.prompt(dialogue.prompt(message), "the dialogue");
    while (ids.size() + maxTokens > model.context() && dialogue.forgetOldest()) {
      ids = model.prompt(dialogue.prompt(message), "the dialogue");
    }
    Request request =
        new Request(
            ids,
            maxTokens,
            model.endTokens(),
            decodingOptions.decoding(model.architecture().exits().layers(), maxTokens),
            sampler);
    PrintWriter out = spec.commandLine().getOut();
    Answer answer = new Answer(new TextStream(model.detokenizer(ids), Dialogue.STOPS), out, colors);
    long start = System.nanoTime();
    Optional<RequestHandle> handle = engine.submit(request, answer);
    Result result = answer.await(handle.orElseThrow());
    double seconds = (System.nanoTime() - start) / 1e9;
    out.println();
    out.flush();
    PrintWriter err = spec.commandLine().getErr();
    err.println(
        ExitSummary.of(List.of(result), seconds).line(model.architecture().model().numLayers()));
    dialogue.add(message, answer.text.toString());
  }

  /** Prints an answer as it comes. */
  private static final class Answer implements RequestListener {
    private final TextStream stream;
    private final PrintWriter out;
    private final ExitColors colors;
    private final StringBuilder text = new StringBuilder();
    private final CompletableFuture<Result> end = new CompletableFuture<>();

    Answer(TextStream stream, PrintWriter out, ExitColors colors) {
      this.stream = stream;
      this.out = out;
      this.colors = colors;
    }

    @Override
    public Reaction onToken(GeneratedToken token) {
      print(stream.append(token.id()), token.head());
      return stream.stopped() ? Reaction.STOP : Reaction.CONTINUE;
    }

    @Override
    public void onEnd(Result result) {
      if (!result.tokens().isEmpty()) {
        print(stream.finish(), result.tokens().getLast().head());
      }
      end.complete(result);
    }

    @Override
    public void onFailure(RuntimeException cause) {
      end.completeExceptionally(cause);
    }

    private void print(String piece, HeadId head) {
      text.append(piece);
      out.print(colors.paint(piece, head));
      out.flush();
    }

    /** Waits for the end, which Ctrl-C brings about. */
    Result await(RequestHandle handle) {
      Object before = Signals.register("INT", handle::cancel);
      try {
        return end.join();
      } catch (CompletionException e) {
        throw e.getCause() instanceof RuntimeException cause ? cause : e;
      } finally {
        Signals.unregister("INT", before);
      }
    }
  }
}

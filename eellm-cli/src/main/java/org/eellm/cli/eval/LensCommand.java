package org.eellm.cli.eval;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.eellm.cli.generate.PromptFile;
import org.eellm.cli.option.EellmCommand;
import org.eellm.cli.option.MeshOptions;
import org.eellm.cli.option.ModelOptions;
import org.eellm.config.ConfigException;
import org.eellm.config.HeadId;
import org.eellm.data.tokenizer.Tokenizer;
import org.eellm.decode.Engine;
import org.eellm.decode.LoadedModel;
import org.eellm.decode.TensorParallelEngine.EngineStarter;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.token.Prediction;
import org.eellm.eval.EvaluatedModel;
import org.eellm.eval.SnakeCaseJson;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code eellm lens}: what every head says of each token of a text. */
@Command(
    name = "lens",
    description =
        "Prints what every head says of each token of texts, as JSON lines: the token's"
            + " probability, and the most probable ones.")
public final class LensCommand extends EellmCommand {
  @Mixin private ModelOptions modelOptions;
  @Mixin private MeshOptions meshOptions;

  @Option(
      names = "--prompts",
      required = true,
      paramLabel = "FILE",
      description = "Texts, one a line; - is standard input.")
  private Path prompts;

  @Option(
      names = "--top",
      paramLabel = "N",
      defaultValue = "5",
      description = "Most probable tokens of each head; ${DEFAULT-VALUE} by default.")
  private int top;

  /**
   * What a head says of a token.
   *
   * @param text number of the line, from 1
   * @param position of the token in its text, from 1: nothing is said of the first, at 0
   * @param layer that the head reads
   * @param logprob natural logarithm of the token's probability
   * @param top most probable first
   */
  private record Said(
      int text,
      int position,
      int id,
      String token,
      HeadId head,
      int layer,
      double logprob,
      double entropy,
      List<Candidate> top) {
    static Said of(int text, Prediction prediction, int id, int top, Tokenizer tokenizer) {
      return new Said(
          text,
          prediction.position(),
          id,
          tokenizer.piece(id),
          prediction.headId(),
          prediction.head().layer(),
          prediction.logProbability(id),
          prediction.entropy(),
          prediction.top(top).stream()
              .map(
                  each ->
                      new Candidate(each.id(), tokenizer.piece(each.id()), each.logProbability()))
              .toList());
    }
  }

  /** A token that a head holds probable. */
  private record Candidate(int id, String token, double logprob) {}

  @Override
  public Integer call() throws IOException {
    ConfigException.requireNotNegative(top, "--top", "use 0 or more");
    List<String> texts = PromptFile.lines(prompts);
    return meshOptions.onFirstRank(
        spec, modelOptions, (model, engines) -> write(texts, model, engines));
  }

  private void write(List<String> texts, LoadedModel model, EngineStarter engines) {
    PrintWriter out = out();
    List<HeadId> heads = HeadId.all(model.architecture().exits().layers());
    List<List<Integer>> all = model.prompts(texts);
    List<Request> requests = new ArrayList<>();
    for (int i = 0; i < all.size(); i++) {
      int text = i + 1;
      requests.add(
          Request.score(
              all.get(i),
              1,
              heads,
              (prediction, id) ->
                  out.println(
                      SnakeCaseJson.line(Said.of(text, prediction, id, top, model.tokenizer())))));
    }
    try (Engine engine = model.engine(engines, 1, Limits.MAX_PENDING)) {
      new EvaluatedModel(model, engine).runOneByOne(requests);
    }
  }
}

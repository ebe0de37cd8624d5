package org.eellm.cli.generate;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.PrintWriter;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.BiConsumer;
import java.util.regex.Pattern;
import org.eellm.chat.ChatMessage;
import org.eellm.chat.ChatTemplate;
import org.eellm.chat.ChatTemplateException;
import org.eellm.chat.TemplateVariable;
import org.eellm.cli.option.EellmCommand;
import org.eellm.cli.option.MeshOptions;
import org.eellm.cli.option.ModelOptions;
import org.eellm.cli.option.PlainOutput;
import org.eellm.config.ConfigException;
import org.eellm.config.HeadId;
import org.eellm.decode.Engine;
import org.eellm.decode.LoadedModel;
import org.eellm.decode.TensorParallelEngine.EngineStarter;
import org.eellm.decode.request.GenerateException;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.RequestHandle;
import org.eellm.decode.request.Result;
import org.eellm.decode.request.ResultFuture;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.sample.SamplingDefaults;
import org.eellm.decode.token.TextStream;
import org.eellm.decode.token.TokenListener.Reaction;
import org.eellm.file.JsonErrors;
import org.jline.utils.Signals;
import picocli.CommandLine.Command;
import picocli.CommandLine.Help.Ansi;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code eellm chat}: a dialogue in the terminal, every token in the colour of its exit. */
@Command(
    name = "chat",
    description = {
      "Talks in the terminal, every token in the colour of the exit it left at.",
      "Each line is a message, which the model's chat template puts into its form. "
          + ChatCommand.COMMANDS
    })
public final class ChatCommand extends EellmCommand {

  static final String COMMANDS =
      "/new begins anew, /help says this, /exit or the end of input ends, Ctrl-C ends an answer.";

  private static final int MAX_TOKENS = 256;
  private static final Pattern COMMAND = Pattern.compile("/[a-z]+");

  @Mixin private ModelOptions modelOptions;
  @Mixin private DecodingOptions decodingOptions;
  @Mixin private SamplingOptions samplingOptions;
  @Mixin private MeshOptions meshOptions;

  @Option(
      names = "--system",
      paramLabel = "TEXT",
      defaultValue = "",
      description = "What stands in front of the dialogue; nothing by default.")
  private String system;

  @Option(
      names = "--template-kwargs",
      paramLabel = "JSON",
      defaultValue = "{}",
      description =
          "What the chat template is told beside the messages, as in '{\"enable_thinking\":"
              + " false}'.")
  private String templateKwargs;

  @Option(
      names = "--max-tokens",
      paramLabel = "N",
      description =
          "Most tokens of an answer; "
              + MAX_TOKENS
              + " by default, or half of the model's context if that is less.")
  private Optional<Integer> maxTokens;

  @Override
  public Integer call() throws IOException {
    samplingOptions.sampler(new SamplingDefaults(Map.of())); // says what is wrong before all else
    ConfigException.requireAtLeast(1, maxTokens.orElse(1), "--max-tokens");
    return meshOptions.talkingOnFirstRank(
        spec, modelOptions, (model, engines) -> chat(model, engines));
  }

  private void chat(LoadedModel model, EngineStarter engines) throws IOException {
    SamplingDefaults defaults = model.sampling();
    Sampler sampler = samplingOptions.sampler(defaults);
    int most = maxTokens.orElse(Math.min(MAX_TOKENS, Math.max(1, model.context() / 2)));
    ChatTemplate template = ChatTemplate.of(model.tokenizer());
    template
        .refusal()
        .ifPresent(
            reason -> {
              throw new ConfigException(
                  "--model: its chat template cannot be rendered here (%s); use eellm generate"
                      .formatted(reason));
            });
    Limits limits =
        Limits.of(model.decoder())
            .withVocabulary(model.vocabulary())
            .withMaxPending(decodingOptions.maxPending());
    decodingOptions.require(model, most); // says what is wrong before the first message
    samplingOptions.tell(defaults, err());
    try (Engine engine = engines.start(model.decoder(), limits)) {
      talk(new Speaker(model, template, variables(template), engine, sampler, most));
    }
  }

  private Map<String, Object> variables(ChatTemplate template) {
    try {
      JsonNode given = new ObjectMapper().readTree(templateKwargs);
      if (!given.isObject()) {
        throw new ConfigException("--template-kwargs: is no JSON object; write '{\"name\": true}'");
      }
      return template.variables(TemplateVariable.all(given, "--template-kwargs"));
    } catch (JsonProcessingException e) {
      throw new ConfigException(
          "--template-kwargs: is not valid JSON: %s".formatted(JsonErrors.reason(e)), e);
    } catch (ChatTemplateException e) {
      throw new ConfigException(e.field() + ": " + e.problem(), e);
    }
  }

  /**
   * Who answers.
   *
   * @param variables what the template is told beside the messages
   * @param most tokens of an answer
   */
  private record Speaker(
      LoadedModel model,
      ChatTemplate template,
      Map<String, Object> variables,
      Engine engine,
      Sampler sampler,
      int most) {

    /**
     * The ids that an answer continues.
     *
     * @throws ChatTemplateException if the template does not take these messages
     */
    List<Integer> prompt(List<ChatMessage> messages) {
      return template.encode(
          messages,
          variables,
          text -> Arrays.stream(model.tokenizer().encode(text)).boxed().toList());
    }
  }

  private void talk(Speaker speaker) throws IOException {
    List<Integer> exits = speaker.model().architecture().exits().layers();
    ExitColors colors = new ExitColors(exits, Ansi.AUTO);
    if (colors.enabled() && !exits.isEmpty()) {
      PlainOutput.raw(err()).println(colors.legend());
    }
    Dialogue dialogue = new Dialogue(system);
    InputLines lines = new InputLines(System.in);
    while (true) {
      err().print("> ");
      err().flush();
      String said = lines.next(speaker.engine()).map(String::strip).orElse("/exit");
      switch (said) {
        case "" -> {}
        case "/exit" -> {
          return;
        }
        case "/new" -> dialogue.clear();
        case "/help" -> err().println(COMMANDS);
        case String word when COMMAND.matcher(word).matches() ->
            err().printf("eellm: '%s' is no command; %s%n", word, COMMANDS);
        default -> {
          try {
            answer(said, dialogue, speaker, colors);
          } catch (GenerateException | ChatTemplateException e) {
            err().println("eellm: " + e.getMessage());
          }
        }
      }
    }
  }

  private void answer(String message, Dialogue dialogue, Speaker speaker, ExitColors colors) {
    PrintWriter err = err();
    LoadedModel model = speaker.model();
    List<Integer> ids = speaker.prompt(dialogue.messages(message));
    while (ids.size() + speaker.most() > model.context() && dialogue.forgetOldest()) {
      ids = speaker.prompt(dialogue.messages(message));
    }
    int room = model.context() - ids.size();
    if (room < 1) {
      throw new GenerateException(
          "the message has %d tokens, but the model's context is %d; shorten it"
              .formatted(ids.size(), model.context()));
    }
    int tokens = Math.min(speaker.most(), room);
    Request request =
        new Request(
            ids,
            tokens,
            model.endTokens(),
            decodingOptions.decoding(model, tokens),
            speaker.sampler());
    PrintWriter out = PlainOutput.raw(out());
    TextStream stream = new TextStream(model.detokenizer(ids), speaker.template().stops());
    StringBuilder text = new StringBuilder();
    BiConsumer<String, HeadId> printer =
        (piece, head) -> {
          text.append(piece);
          out.print(colors.paint(piece, head));
          out.flush();
        };
    ResultFuture answer =
        new ResultFuture(
            token -> {
              printer.accept(stream.append(token.id()), token.head());
              return stream.stopped() ? Reaction.STOP : Reaction.CONTINUE;
            });
    long start = System.nanoTime();
    RequestHandle handle = speaker.engine().submit(request, answer).orElseThrow();
    Object before = Signals.register("INT", handle::cancel); // Ctrl-C ends the answer
    Result result;
    try {
      result = answer.await();
    } finally {
      Signals.unregister("INT", before);
    }
    double seconds = (System.nanoTime() - start) / 1e9;
    if (!result.tokens().isEmpty()) {
      printer.accept(stream.finish(), result.tokens().getLast().head());
    }
    out.println();
    err.println(
        ExitSummary.of(List.of(result), seconds).line(model.architecture().model().numLayers()));
    dialogue.add(message, text.toString());
  }
}

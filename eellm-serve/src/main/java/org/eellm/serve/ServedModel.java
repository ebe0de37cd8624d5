package org.eellm.serve;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.eellm.chat.ChatMessage;
import org.eellm.chat.ChatTemplate;
import org.eellm.chat.ChatTemplateException;
import org.eellm.chat.TemplateVariable;
import org.eellm.chat.tool.Tool;
import org.eellm.config.Architecture;
import org.eellm.data.DataException;
import org.eellm.data.tokenizer.Tokenizer;
import org.eellm.decode.Engine;
import org.eellm.decode.LoadedModel;
import org.eellm.decode.request.DecodingSettings;
import org.eellm.decode.sample.GrammarMasks;
import org.eellm.decode.sample.SamplingDefaults;
import org.eellm.decode.token.Detokenizer;
import org.eellm.serve.json.ApiException;
import org.eellm.serve.json.Fields;

/**
 * A model that is served.
 *
 * @param name what requests call the model
 * @param adapter that its texts ask for, by its number; 0 for the model as it is
 * @param template puts messages into a text
 * @param defaults how texts are decoded if a request does not say
 * @param sampling how tokens are drawn if it does not
 * @param created when the model was made, in seconds since 1970
 * @param longestToken UTF-8 bytes of the vocabulary's longest token
 * @param grammars what texts may be held to
 * @param examples prompts that the page offers
 */
public record ServedModel(
    String name,
    LoadedModel model,
    int adapter,
    Engine engine,
    ChatTemplate template,
    DecodingSettings defaults,
    SamplingDefaults sampling,
    long created,
    int longestToken,
    GrammarMasks grammars,
    List<String> examples) {

  /** With what follows from the others. */
  public ServedModel(
      String name,
      LoadedModel model,
      Engine engine,
      ChatTemplate template,
      DecodingSettings defaults,
      SamplingDefaults sampling) {
    this(
        name,
        model,
        0,
        engine,
        template,
        defaults,
        sampling,
        System.currentTimeMillis() / 1000,
        longestToken(model.tokenizer()),
        new GrammarMasks(model.tokenizer()),
        model.examplePrompts());
  }

  private static int longestToken(Tokenizer tokenizer) {
    return IntStream.range(0, tokenizer.vocabSize()).map(tokenizer::byteLength).max().orElse(1);
  }

  /** The model as it is, and with each of its adapters. */
  List<ServedModel> all() {
    List<ServedModel> all = new ArrayList<>(List.of(this));
    model.adapters().forEach(each -> all.add(withAdapter(each, all.size())));
    return all;
  }

  private ServedModel withAdapter(String called, int number) {
    return new ServedModel(
        called,
        model,
        number,
        engine,
        template,
        defaults,
        sampling,
        created,
        longestToken,
        grammars,
        examples);
  }

  /**
   * The one of {@link #all} that a request names.
   *
   * @throws ApiException if there is none
   */
  ServedModel named(String asked) {
    List<ServedModel> all = all();
    return all.stream()
        .filter(each -> each.name().equals(asked))
        .findFirst()
        .orElseThrow(
            () ->
                ApiException.unknownModel(
                    Fields.shown(asked),
                    all.stream().map(ServedModel::name).collect(Collectors.joining("' or '"))));
  }

  Architecture architecture() {
    return model.architecture();
  }

  Tokenizer tokenizer() {
    return model.tokenizer();
  }

  /** Ids that end a text. */
  Set<Integer> endTokens() {
    return model.endTokens();
  }

  /** Tokens that a text and its continuation may have together. */
  int context() {
    return model.context();
  }

  int layers() {
    return architecture().model().numLayers();
  }

  /** Layers of the exits, from 1. */
  List<Integer> exits() {
    return architecture().exits().layers();
  }

  /**
   * The ids that the model continues a text from; may be none for the empty text.
   *
   * @param param the request's field, for messages
   * @throws ApiException if the text is so long that it cannot fit the context
   */
  List<Integer> prompt(String text, String param) {
    List<Integer> ids = new ArrayList<>();
    tokenizer().beginningOfSequence().ifPresent(ids::add);
    ids.addAll(encode(text, param));
    return ids;
  }

  /**
   * The ids that the model continues with an answer.
   *
   * @param tools that the answer may call
   * @param variables what the template is told beside the messages
   * @throws ApiException if the template cannot be rendered, or does not take these messages
   */
  List<Integer> prompt(
      List<ChatMessage> messages, List<Tool> tools, List<TemplateVariable> variables) {
    template
        .refusal()
        .ifPresent(
            reason -> {
              throw noTemplate(
                  "this model's chat template cannot be rendered here (%s); use /v1/completions"
                      .formatted(reason));
            });
    try {
      return template.encode(
          messages, tools, template.variables(variables), text -> encode(text, "messages"));
    } catch (ChatTemplateException e) {
      throw e.isOfMessages()
          ? ApiException.badField(e.field(), e.problem())
          : noTemplate(e.problem());
    }
  }

  private static ApiException noTemplate(String message) {
    return ApiException.refused(501, "chat_template", message);
  }

  /** The ids of a text, with nothing in front. */
  public List<Integer> encode(String text, String param) {
    // Encoding takes time, which a text that cannot fit whatever its tokens are does not get.
    if (text.length() > (long) context() * longestToken) {
      throw ApiException.tooLong(
          param,
          "a text of %d characters does not fit the model's context of %d tokens; shorten it"
              .formatted(text.length(), context()));
    }
    try {
      return Arrays.stream(tokenizer().encode(text)).boxed().toList();
    } catch (DataException e) {
      throw ApiException.badField(param, String.valueOf(e.getMessage()));
    }
  }

  /** Turns tokens that follow a prompt into text. */
  Detokenizer detokenizer(List<Integer> prompt) {
    return model.detokenizer(prompt);
  }
}

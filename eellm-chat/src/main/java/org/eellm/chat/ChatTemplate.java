package org.eellm.chat;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.hubspot.jinjava.Jinjava;
import com.hubspot.jinjava.JinjavaConfig;
import com.hubspot.jinjava.el.JinjavaObjectUnwrapper;
import com.hubspot.jinjava.interpret.Context.Library;
import com.hubspot.jinjava.interpret.RenderResult;
import com.hubspot.jinjava.interpret.TemplateError;
import com.hubspot.jinjava.interpret.TemplateError.ErrorReason;
import com.hubspot.jinjava.lib.filter.Filter;
import com.hubspot.jinjava.lib.fn.ELFunctionDefinition;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Function;
import java.util.regex.MatchResult;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.eellm.chat.tool.Tool;
import org.eellm.chat.tool.ToolCall;
import org.eellm.chat.tool.ToolChoice;
import org.eellm.chat.tool.ToolForm;
import org.eellm.data.tokenizer.Tokenizer;
import org.eellm.file.IoErrors;
import org.eellm.file.Shown;
import org.eellm.grammar.GrammarSource;
import org.jspecify.annotations.Nullable;

/**
 * Puts a chat's messages into the text that a model was tuned with: a Jinja template beside the
 * tokenizer, as Hugging Face has it. What is said stays literal: the name of a special token in a
 * message becomes the tokens of its letters.
 */
public final class ChatTemplate {
  /** A template beside a tokenizer. */
  private static final String FILE = "chat_template.jinja";

  /** A dialogue as any model can continue it. */
  private static final String PLAIN =
      """
      {{ bos_token }}{% for message in messages %}\
      {% if message.role == 'user' %}User: {{ message.content }}
      {% elif message.role == 'assistant' %}Assistant: {{ message.content }}
      {% else %}{{ message.content }}

      {% endif %}{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}\
      """;

  /** Whether an answer is to follow, true by default. */
  static final String ANSWERS = "add_generation_prompt";

  /** Variables that every template gets. */
  private static final Set<String> OWN_VARIABLES =
      Set.of("messages", "tools", "bos_token", "eos_token", ANSWERS);

  private static final List<String> PLAIN_STOPS = List.of("\nUser:", "\nAssistant:");

  /** Stand around a special token's place in a list, where somebody said its name. */
  private static final char QUOTE_BEGIN = '\uFDD0';

  private static final char QUOTE_END = '\uFDD1';
  private static final Pattern QUOTED = Pattern.compile(QUOTE_BEGIN + "([0-9]+)" + QUOTE_END);

  /** Stands for a message's text; no filter of texts changes it. */
  private static final Pattern MARK = Pattern.compile("__[0-9]+__");

  private static final List<ChatMessage> SAMPLE =
      List.of(
          new ChatMessage("user", "Hello", Optional.empty()),
          new ChatMessage("assistant", "Hello!", Optional.empty()),
          new ChatMessage("user", "How are you?", Optional.empty()));

  /** Those of Jinja, which templates are made for; Jinjava has more. */
  private static final Set<String> FILTERS =
      Set.of(
          "abs attr batch capitalize center count d default dictsort e escape filesizeformat first float forceescape format groupby indent int items join last length list lower map max min pprint random reject rejectattr replace reverse round safe select selectattr slice sort string striptags sum title tojson trim truncate unique upper urlencode urlize wordcount wordwrap xmlattr"
              .split(" "));

  private final String origin;
  private final String template;
  private final List<String> stops;
  private final String beginningOfSequence;
  private final String endOfSequence;
  private final List<Integer> specialIds = new ArrayList<>();
  private final List<String> specialNames = new ArrayList<>();
  private final Optional<Pattern> specials;
  private final Optional<String> refusal;
  private final Jinjava jinja = new Jinjava(config());
  private @Nullable ChatTemplate toolUse; // another for chats with tools
  private volatile @Nullable Optional<ToolForm> toolForm; // once it was asked for

  private ChatTemplate(
      String origin,
      String template,
      List<String> stops,
      String beginningOfSequence,
      String endOfSequence,
      Tokenizer tokenizer) {
    this.origin = origin;
    this.template = source(origin, template);
    this.stops = stops;
    this.beginningOfSequence = beginningOfSequence;
    this.endOfSequence = endOfSequence;
    for (int id = 0; id < tokenizer.vocabSize(); id++) {
      if (tokenizer.byteLength(id) == 0 && !tokenizer.piece(id).isEmpty()) {
        specialIds.add(id);
        specialNames.add(tokenizer.piece(id));
      }
    }
    specials =
        specialNames.isEmpty()
            ? Optional.empty()
            : Optional.of(
                Pattern.compile(
                    specialNames.stream()
                        .sorted(Comparator.comparingInt(String::length).reversed())
                        .map(Pattern::quote)
                        .collect(Collectors.joining("|"))));
    jinja.getGlobalContext().registerTag(new BoundedFor());
    jinja.getGlobalContext().registerTag(new BoundedSet());
    for (String name : BoundedFilter.NAMES) {
      jinja
          .getGlobalContext()
          .registerFilter(new BoundedFilter(jinja.getGlobalContext().getFilter(name)));
    }
    jinja.getGlobalContext().registerFilter(new TemplateJson());
    jinja.getGlobalContext().registerFilter(new ItemsFilter());
    jinja.getGlobalContext().registerExpTest(new IsIterable());
    register(jinja, "raise_exception", "raise", String.class);
    register(jinja, "strftime_now", "now", String.class);
    refusal = trial();
  }

  private static String source(String origin, String template) {
    try {
      return JinjaSource.withoutWhitespaceControl(template);
    } catch (StackOverflowError e) {
      throw new ChatTemplateException(origin + ": the chat template is nested too deeply", e);
    }
  }

  private static JinjavaConfig config() {
    Set<String> others =
        new Jinjava()
            .getGlobalContext().getAllFilters().stream()
                .map(Filter::getName)
                .filter(name -> !FILTERS.contains(name))
                .collect(Collectors.toSet());
    return JinjavaConfig.newBuilder()
        .withDisabled(Map.of(Library.FILTER, others))
        .withNestedInterpretationEnabled(false) // what is said is no template
        .withElResolver(new PythonMethods())
        .withObjectUnwrapper(new CountedReads())
        .withMaxOutputSize(TemplateBounds.MAX_LENGTH)
        .withMaxStringLength(TemplateBounds.MAX_LENGTH)
        .withMaxListSize(TemplateBounds.MAX_ELEMENTS)
        .withMaxMapSize(TemplateBounds.MAX_ELEMENTS)
        .build();
  }

  /** Counts what expressions read of variables: Jinjava unwraps each value for them. */
  private static final class CountedReads extends JinjavaObjectUnwrapper {
    @Override
    public Object unwrapObject(Object value) {
      TemplateBounds.countRead(value);
      return super.unwrapObject(value);
    }
  }

  private static void register(Jinjava jinja, String name, String method, Class<?>... types) {
    jinja
        .getGlobalContext()
        .registerFunction(
            new ELFunctionDefinition("", name, TemplateFunctions.class, method, types));
  }

  /**
   * A tokenizer's template: {@code chat_template.jinja} beside it, or {@code chat_template} in
   * {@code tokenizer_config.json}, where of several the one called {@code default} is taken.
   * Without any, a chat becomes a plain dialogue of {@code User:} and {@code Assistant:}.
   *
   * @throws ChatTemplateException if it cannot be read
   */
  public static ChatTemplate of(Tokenizer tokenizer) {
    try {
      JsonNode root = new ObjectMapper().readTree(tokenizer.configuration());
      Optional<String> found = tokenizer.chatTemplate().or(() -> template(root));
      String begin =
          token(
              root.path("bos_token"), tokenizer.beginningOfSequence().stream().boxed(), tokenizer);
      String end = token(root.path("eos_token"), Stream.of(tokenizer.endOfDocument()), tokenizer);
      ChatTemplate template =
          new ChatTemplate(
              found.isEmpty()
                  ? "plain dialogue, for the model has no chat template"
                  : tokenizer.chatTemplate().isPresent() ? FILE : "the tokenizer's configuration",
              found.orElse(PLAIN),
              found.isEmpty() ? PLAIN_STOPS : List.of(),
              begin,
              end,
              tokenizer);
      named(root, "tool_use")
          .filter(_ -> tokenizer.chatTemplate().isEmpty())
          .map(text -> new ChatTemplate("tool_use", text, List.of(), begin, end, tokenizer))
          .filter(named -> named.refusal.isEmpty())
          .ifPresent(named -> template.toolUse = named);
      return template;
    } catch (JsonProcessingException e) {
      throw new ChatTemplateException(
          "tokenizer_config.json: cannot be read: " + IoErrors.reason(e), e);
    }
  }

  /** A template of this text. */
  static ChatTemplate of(
      String template, String beginningOfSequence, String endOfSequence, Tokenizer tokenizer) {
    return new ChatTemplate(
        "text", template, List.of(), beginningOfSequence, endOfSequence, tokenizer);
  }

  private static Optional<String> template(JsonNode root) {
    JsonNode template = root.path("chat_template");
    return template.isTextual() ? Optional.of(template.textValue()) : named(root, "default");
  }

  private static Optional<String> named(JsonNode root, String name) {
    for (JsonNode named : root.path("chat_template")) {
      if (named.path("name").asText().equals(name)) {
        return Optional.of(named.path("template").asText());
      }
    }
    return Optional.empty();
  }

  /** A token's name: a string, or an object with its {@code content}. */
  private static String token(JsonNode node, Stream<Integer> otherwise, Tokenizer tokenizer) {
    if (node.isTextual()) {
      return node.textValue();
    }
    return node.path("content").isTextual()
        ? node.path("content").textValue()
        : otherwise.map(tokenizer::piece).findFirst().orElse("");
  }

  /** Where it is from, and whether it can be rendered; for the log. */
  public String description() {
    return refusal.map(reason -> origin + " (refused: " + reason + ")").orElse(origin);
  }

  /** Why it cannot be rendered, if it cannot. */
  public Optional<String> refusal() {
    return refusal;
  }

  /** Texts that end an answer. */
  public List<String> stops() {
    return stops;
  }

  /**
   * Variables as templates have them.
   *
   * @throws ChatTemplateException if this template does not ask for one, or cannot have its value
   */
  public Map<String, Object> variables(List<TemplateVariable> given) {
    Map<String, Object> variables = new HashMap<>();
    for (TemplateVariable variable : given) {
      Pattern word = Pattern.compile("\\b" + Pattern.quote(variable.name()) + "\\b");
      boolean asked =
          word.matcher(template).find()
              || (toolUse != null && word.matcher(toolUse.template).find());
      if (!asked || OWN_VARIABLES.contains(variable.name())) {
        throw ChatTemplateException.ofMessages(
            variable.field(),
            "has no effect: this model's chat template does not ask for it; leave it out");
      }
      Object value = variable.plain();
      Object quoted = value instanceof String text ? quote(text, variable.field()) : value;
      if (variables.put(variable.name(), quoted) != null) {
        throw ChatTemplateException.ofMessages(variable.field(), "is given twice; give it once");
      }
    }
    return variables;
  }

  private Optional<String> trial() {
    // Jinjava leaves out filters that it does not know.
    for (String filter : JinjaSource.filters(template)) {
      if (!FILTERS.contains(filter) || jinja.getGlobalContext().getFilter(filter) == null) {
        return Optional.of("the filter '" + filter + "' is unknown");
      }
    }
    try {
      renderWithinBounds(SAMPLE, Map.of());
      return Optional.empty();
    } catch (ChatTemplateException e) {
      return Optional.of(String.valueOf(e.getMessage()));
    } catch (TemplateBounds.ExceededError e) {
      return Optional.of("it takes more time or memory than a template may");
    }
  }

  /** How an answer calls tools: as the template has it, or in a form of our own. */
  public ToolForm toolForm() {
    return nativeToolForm().orElse(ToolForm.OWN);
  }

  private Optional<ToolForm> nativeToolForm() {
    Optional<ToolForm> form = toolForm;
    if (form == null) {
      ChatTemplate asked = toolUse == null ? this : toolUse;
      form = asked.refusal.isPresent() ? Optional.empty() : new ToolFormProbe(asked).find();
      toolForm = form;
    }
    return form;
  }

  /**
   * What answers are held to that may call tools.
   *
   * @param text what an answer that calls none is held to; none for any text
   */
  public GrammarSource answers(ToolChoice choice, List<GrammarSource> text) {
    return new GrammarSource.WithSpecials(choice.answers(toolForm(), text), toolSpecials());
  }

  /** The special tokens that answers with calls have, whose names are a part of the form. */
  public Set<Integer> toolSpecials() {
    return specials(toolForm().text()).stream()
        .map(special -> specialIds.get(specialNames.indexOf(special.group())))
        .collect(Collectors.toSet());
  }

  /**
   * The ids that the model continues with an answer.
   *
   * @throws ChatTemplateException if the template cannot be rendered, or does not take these
   *     messages
   */
  public List<Integer> encode(List<ChatMessage> messages, Tokenizer tokenizer) {
    return encode(messages, List.of(), tokenizer);
  }

  /** As {@link #encode(List, Tokenizer)}, with tools that the answer may call. */
  public List<Integer> encode(List<ChatMessage> messages, List<Tool> tools, Tokenizer tokenizer) {
    return encode(
        messages, tools, Map.of(), text -> Arrays.stream(tokenizer.encode(text)).boxed().toList());
  }

  /**
   * As {@link #encode(List, Tokenizer)}, with another way to encode texts.
   *
   * @param tools that the answer may call
   * @param variables what the template is told beside the messages, by {@link #variables}
   * @param literal the ids of a text without special tokens
   */
  public List<Integer> encode(
      List<ChatMessage> messages,
      List<Tool> tools,
      Map<String, Object> variables,
      Function<String, List<Integer>> literal) {
    if (tools.isEmpty() && messages.stream().noneMatch(ChatMessage::isOfTools)) {
      return encode(messages, variables, literal);
    }
    if (nativeToolForm().isEmpty()) {
      return encode(OwnTools.told(messages, tools), variables, literal);
    }
    Map<String, Object> told = new HashMap<>(variables);
    if (!tools.isEmpty()) {
      told.put("tools", quoted(tools));
    }
    return (toolUse == null ? this : toolUse).encode(messages, told, literal);
  }

  private List<Object> quoted(List<Tool> tools) {
    List<Object> quoted = new ArrayList<>();
    for (Tool tool : tools) {
      String field = "tools[%d]".formatted(quoted.size());
      quoted.add(TemplateJson.value(tool.json(), text -> quote(text, field)));
    }
    return quoted;
  }

  /**
   * As {@link #encode(List, List, Map, Function)}, of a chat that has nothing to do with tools.
   *
   * @throws ChatTemplateException if the template cannot be rendered, or does not take these
   *     messages
   */
  public List<Integer> encode(
      List<ChatMessage> messages,
      Map<String, Object> variables,
      Function<String, List<Integer>> literal) {
    List<Integer> ids = new ArrayList<>();
    for (TextPiece piece : pieces(render(quoted(messages, variables), variables))) {
      switch (piece) {
        case TextPiece.Special(int id) -> ids.add(id);
        case TextPiece.Literal(String text) -> ids.addAll(literal.apply(text));
      }
    }
    if (ids.isEmpty()) {
      throw ChatTemplateException.ofMessages("messages", "become an empty text; say something");
    }
    return ids;
  }

  /** The messages as {@link #pieces} needs them, if the template has a place for each. */
  List<ChatMessage> quoted(List<ChatMessage> messages, Map<String, Object> variables) {
    if (refusal.isPresent()) {
      throw ChatTemplateException.ofTemplate(
          "this model's chat template cannot be rendered (%s)".formatted(refusal.get()));
    }
    TemplateBounds.requireFew(messages);
    List<ChatMessage> quoted = new ArrayList<>();
    for (ChatMessage message : messages) {
      String place = "messages[%d].".formatted(quoted.size());
      quoted.add(
          new ChatMessage(
              quote(message.role(), place + "role"),
              quote(message.content(), place + "content"),
              message.name().map(name -> quote(name, place + "name")),
              message.calls().stream().map(call -> quoted(call, place + "tool_calls")).toList(),
              quote(message.callId(), place + "tool_call_id")));
    }
    requireAllInPrompt(messages, variables);
    return quoted;
  }

  private ToolCall quoted(ToolCall call, String place) {
    Object quoted = TemplateJson.arguments(call.arguments(), place, text -> quote(text, place));
    return new ToolCall(
        quote(call.id(), place), quote(call.name(), place), TemplateJson.text(quoted, 0));
  }

  /** A rendered text's special tokens and what is between them, without quotes. */
  List<TextPiece> pieces(String text) {
    List<TextPiece> pieces = new ArrayList<>();
    int done = 0;
    for (MatchResult special : specials(text)) {
      addLiteral(text.substring(done, special.start()), pieces);
      pieces.add(new TextPiece.Special(specialIds.get(specialNames.indexOf(special.group()))));
      done = special.end();
    }
    addLiteral(text.substring(done), pieces);
    return pieces;
  }

  /** The special tokens in a rendered text, in order. */
  List<MatchResult> specials(String text) {
    return specials.map(pattern -> pattern.matcher(text).results().toList()).orElse(List.of());
  }

  /**
   * Refuses messages that the template leaves out without a word, as it does with roles and places
   * that it does not know. A chat of the same roles with a mark in place of each text tells which:
   * texts themselves do not, as templates trim them, and take the thoughts out of earlier answers.
   */
  private void requireAllInPrompt(List<ChatMessage> messages, Map<String, Object> variables) {
    List<ChatMessage> marked = new ArrayList<>();
    for (ChatMessage message : messages) {
      // A call is a message where the template leaves out the text beside it.
      boolean mayBeMissing = message.content().isBlank() || !message.calls().isEmpty();
      String text = mayBeMissing ? message.content() : mark(marked.size());
      marked.add(message.withContent(text));
    }
    Set<String> there =
        MARK.matcher(render(marked, variables))
            .results()
            .map(MatchResult::group)
            .collect(Collectors.toSet());
    for (int i = 0; i < messages.size(); i++) {
      if (marked.get(i).content().equals(mark(i)) && !there.contains(mark(i))) {
        throw ChatTemplateException.ofMessages(
            "messages[%d]".formatted(i),
            "this model's chat template has no place for this %s message; put its text into another"
                .formatted(messages.get(i).role()));
      }
    }
  }

  private static String mark(int index) {
    return "__" + index + "__";
  }

  /** Puts a place in the list of special tokens where somebody said one's name. */
  private String quote(String said, String field) {
    if (said.indexOf(QUOTE_BEGIN) >= 0 || said.indexOf(QUOTE_END) >= 0) {
      throw ChatTemplateException.ofMessages(
          field, "has U+FDD0 or U+FDD1, which are no characters");
    }
    return specials
        .map(
            pattern ->
                pattern
                    .matcher(said)
                    .replaceAll(
                        found ->
                            "" + QUOTE_BEGIN + specialNames.indexOf(found.group()) + QUOTE_END))
        .orElse(said);
  }

  private void addLiteral(String quoted, List<TextPiece> pieces) {
    if (!quoted.isEmpty()) {
      String text =
          QUOTED
              .matcher(quoted)
              .replaceAll(
                  found ->
                      Matcher.quoteReplacement(specialNames.get(Integer.parseInt(found.group(1)))));
      pieces.add(new TextPiece.Literal(text));
    }
  }

  /**
   * The messages as a text.
   *
   * @throws ChatTemplateException if the template cannot be rendered, or does not take these
   *     messages
   */
  String render(List<ChatMessage> messages, Map<String, Object> variables) {
    try {
      return renderWithinBounds(messages, variables);
    } catch (TemplateBounds.ExceededError e) {
      throw ChatTemplateException.ofMessages(
          "messages",
          "become more than the %d characters of a chat, or take too long; send fewer or shorter ones"
              .formatted(TemplateBounds.MAX_LENGTH));
    }
  }

  /** A chat for {@link ToolFormProbe}; empty if the template does not take it. */
  String probe(List<ChatMessage> messages, List<Tool> tools, boolean asSent, boolean answers) {
    try {
      Map<String, Object> variables = Map.of("tools", quoted(tools), ANSWERS, answers);
      return renderMaps(asMaps(messages, asSent), variables);
    } catch (ChatTemplateException | TemplateBounds.ExceededError _) {
      return "";
    }
  }

  private static List<Map<String, @Nullable Object>> asMaps(
      List<ChatMessage> messages, boolean asSent) {
    List<Map<String, @Nullable Object>> asMaps = new ArrayList<>();
    for (ChatMessage message : messages) {
      Map<String, @Nullable Object> map = new LinkedHashMap<>();
      // The newer word, which few templates know: others take it for no role at all.
      map.put("role", message.role().equals("developer") ? "system" : message.role());
      boolean callsAlone = message.content().isEmpty() && !message.calls().isEmpty();
      map.put("content", asSent && callsAlone ? null : message.content());
      message.name().ifPresent(name -> map.put("name", name));
      if (!message.calls().isEmpty()) {
        map.put("tool_calls", message.calls().stream().map(call -> asMap(call, asSent)).toList());
      }
      if (!message.callId().isEmpty()) {
        map.put("tool_call_id", message.callId());
      }
      asMaps.add(map);
    }
    return asMaps;
  }

  private static Map<String, Object> asMap(ToolCall call, boolean asSent) {
    Map<String, Object> function = new LinkedHashMap<>();
    function.put("name", call.name());
    Object arguments =
        asSent
            ? call.arguments()
            : TemplateJson.arguments(call.arguments(), "messages", text -> text);
    function.put("arguments", arguments);
    Map<String, Object> map = new LinkedHashMap<>();
    map.put("id", call.id());
    map.put("type", "function");
    map.put("function", function);
    return map;
  }

  private String renderWithinBounds(List<ChatMessage> messages, Map<String, Object> variables) {
    boolean calls = messages.stream().anyMatch(message -> !message.calls().isEmpty());
    return renderMaps(asMaps(messages, calls && toolForm().asSent()), variables);
  }

  private String renderMaps(
      List<Map<String, @Nullable Object>> asMaps, Map<String, Object> variables) {
    Map<String, Object> context = new HashMap<>();
    context.put("messages", asMaps);
    context.put("bos_token", beginningOfSequence);
    context.put("eos_token", endOfSequence);
    context.put(ANSWERS, true);
    context.putAll(variables); // none of these, but of our own callers
    context.put(TemplateBounds.WORK, new AtomicLong());
    RenderResult result;
    try {
      result = jinja.renderForResult(template, context);
    } catch (StackOverflowError | OutOfMemoryError e) {
      throw new TemplateBounds.ExceededError();
    }
    for (TemplateError error : result.getErrors()) {
      if (error.getReason() == ErrorReason.OUTPUT_TOO_BIG
          || ChatTemplateException.cause(error.getException(), TemplateBounds.ExceededError.class)
              .isPresent()) {
        throw new TemplateBounds.ExceededError();
      }
      throw ChatTemplateException.cause(error.getException(), TemplateFunctions.Raised.class)
          .map(
              raised ->
                  ChatTemplateException.ofMessages(
                      "messages", Shown.of(String.valueOf(raised.getMessage()), 300)))
          .orElseGet(
              () ->
                  ChatTemplateException.ofTemplate(
                      "line %d: %s"
                          .formatted(
                              error.getLineno(),
                              Shown.of(
                                  String.valueOf(error.getMessage())
                                      .replaceAll("\\b\\w+Exception: ", ""),
                                  60))));
    }
    return result.getOutput();
  }
}

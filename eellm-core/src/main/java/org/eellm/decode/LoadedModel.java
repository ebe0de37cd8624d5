package org.eellm.decode;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.function.Function;
import org.eellm.checkpoint.DraftTable;
import org.eellm.checkpoint.DraftVocabulary;
import org.eellm.checkpoint.ExamplePrompts;
import org.eellm.checkpoint.ModelFolder;
import org.eellm.checkpoint.TrainingFiles;
import org.eellm.checkpoint.huggingface.HuggingFaceConfig;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.config.Architecture;
import org.eellm.config.ConfigException;
import org.eellm.config.MatrixQuantization;
import org.eellm.config.TrainConfig.Device;
import org.eellm.data.DataException;
import org.eellm.data.tokenizer.Tokenizer;
import org.eellm.decode.TensorParallelEngine.EngineStarter;
import org.eellm.decode.engine.cpu.KernelRunner;
import org.eellm.decode.exit.Calibration;
import org.eellm.decode.head.Vocabulary;
import org.eellm.decode.request.DecodingSettings;
import org.eellm.decode.request.GenerateException;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.Result;
import org.eellm.decode.sample.SamplingDefaults;
import org.eellm.decode.token.Detokenizer;
import org.eellm.model.Adapter;
import org.eellm.model.DecodingModel;
import org.eellm.model.StoredDecoder;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A model folder in memory, for decoding: the model, its tokenizer, and the tokens that end a text.
 *
 * @param files the folders themselves, where runs' folders were given
 * @param vocabulary ids that may be written, those that exits draft from, and the table of drafts
 * @param calibration when tokens leave early unless somebody says; lies in the exits' folder
 */
public record LoadedModel(
    ModelFolder files,
    DecodingModel decoder,
    Tokenizer tokenizer,
    Vocabulary vocabulary,
    Optional<Calibration> calibration,
    Set<Integer> endTokens)
    implements AutoCloseable {

  private static final Logger LOG = LoggerFactory.getLogger(LoadedModel.class);

  /** A vocabulary is often padded to a round number, but by no more than this. */
  private static final int MOST_PADDING = 4096;

  private static final int USUAL_PADDING = 128;

  public LoadedModel {
    endTokens = Set.copyOf(endTokens);
  }

  /**
   * Loads all of a model: a model folder, a checkpoint, or a run's newest checkpoint, with its own
   * exits.
   *
   * @throws CheckpointException as the other
   */
  public static LoadedModel load(Path path, Device device) {
    ModelFolder files = ModelFolder.resolve(path);
    return load(
        files, architecture -> files.decoder(architecture, device, MatrixQuantization.NONE));
  }

  /**
   * Loads a model.
   *
   * @param read gets the model, or this rank's part of it, from the files: the architecture is
   *     theirs, and the model may compute in another number format
   * @throws CheckpointException if it cannot be read, or model and tokenizer do not belong together
   * @throws ConfigException if its calibration is damaged, or of another model
   */
  public static LoadedModel load(ModelFolder files, Function<Architecture, DecodingModel> read) {
    Path folder = files.folder();
    HuggingFaceConfig config = files.config();
    Tokenizer tokenizer = Tokenizer.load(folder);
    Architecture stored = config.architecture();
    requireSameVocabulary(folder, tokenizer.vocabSize(), stored.model().vocabSize());
    Set<Integer> endTokens = new HashSet<>(config.eosTokenIds());
    endTokens.add(tokenizer.endOfDocument());
    int vocabSize = tokenizer.vocabSize();
    Vocabulary vocabulary =
        new Vocabulary(
            vocabSize,
            DraftVocabulary.read(folder, vocabSize).ids(),
            DraftTable.read(folder, vocabSize));
    Optional<Calibration> calibration = Calibration.stored(files.calibrationFolder(), stored);
    DecodingModel decoder = read.apply(stored);
    if (decoder instanceof StoredDecoder inFiles) {
      KernelRunner.pack(inFiles);
    }
    return new LoadedModel(files, decoder, tokenizer, vocabulary, calibration, endTokens);
  }

  private static void requireSameVocabulary(Path folder, int tokenizer, int model) {
    if (tokenizer > model || model - tokenizer > MOST_PADDING) {
      throw new CheckpointException(
          "%s: the tokenizer has %d tokens, but the model's vocabulary %d; put the tokenizer there that the model was trained with"
              .formatted(folder, tokenizer, model));
    }
    if (model - tokenizer > Math.max(USUAL_PADDING, tokenizer / 4)) {
      LOG.warn(
          "{}: the tokenizer has {} tokens, the model's vocabulary {}; is it the model's own?",
          folder,
          tokenizer,
          model);
    }
  }

  /**
   * A copy whose exits draft from a short list, which is stored beside the model. Its own gates go:
   * they were fitted to another list.
   */
  public LoadedModel withDrafts(DraftVocabulary drafts) throws IOException {
    drafts.write(folder());
    Optional<Calibration> kept =
        calibration.filter(own -> !(own.rule() instanceof Calibration.OfGates));
    if (kept.isEmpty()) {
      Files.deleteIfExists(calibrationFile());
    }
    Vocabulary other = new Vocabulary(vocabulary.size(), drafts.ids(), vocabulary.draftTable());
    return new LoadedModel(files, decoder, tokenizer, other, kept, endTokens);
  }

  public LoadedModel withDrafts(DraftTable table) throws IOException {
    table.write(folder());
    Vocabulary other = new Vocabulary(vocabulary.size(), vocabulary.draftIds(), table);
    return new LoadedModel(files, decoder, tokenizer, other, calibration, endTokens);
  }

  /** The model folder itself, or a GGUF file. */
  public Path folder() {
    return files.folder();
  }

  /** Where the model's own calibration lies, or would. */
  public Path calibrationFile() {
    return files.calibrationFolder().resolve(ModelFolder.CALIBRATION);
  }

  /**
   * How long the run trained that made the exits, which is the trunk's where both were trained
   * together; absent where no file says.
   */
  public Optional<Double> exitTrainingSeconds() {
    return TrainingFiles.seconds(files.heads().orElse(folder()));
  }

  /** Settings by the model's own calibration, where tokens leave early and nothing says when. */
  public DecodingSettings settings(DecodingSettings given) {
    return calibration.map(given::orCalibrated).orElse(given);
  }

  /** Texts that the model continues well; may be none. */
  public List<String> examplePrompts() {
    return ExamplePrompts.read(folder()).prompts();
  }

  /** How tokens are drawn unless somebody says. */
  public SamplingDefaults sampling() {
    return SamplingDefaults.read(folder());
  }

  public Architecture architecture() {
    return decoder.architecture();
  }

  /** Names of the adapters that texts may ask for, by their numbers from 1. */
  public List<String> adapters() {
    return decoder.adapters().stream().map(Adapter::name).toList();
  }

  /** Tokens that a text and its continuation may have together. */
  public int context() {
    return architecture().model().maxPositions();
  }

  /**
   * The ids that the model continues a text from.
   *
   * @param name what messages call the text
   */
  public List<Integer> prompt(String text, String name) {
    List<Integer> ids = new ArrayList<>();
    tokenizer.beginningOfSequence().ifPresent(ids::add);
    try {
      Arrays.stream(tokenizer.encode(text)).forEach(ids::add);
    } catch (DataException failure) {
      throw new GenerateException(name + ": " + failure.getMessage());
    }
    if (ids.isEmpty()) {
      throw new GenerateException(name + " is empty; give it at least one character");
    }
    return ids;
  }

  /** The ids that the model continues each text from; messages call texts by their numbers. */
  public List<List<Integer>> prompts(List<String> texts) {
    List<List<Integer>> prompts = new ArrayList<>();
    for (int i = 0; i < texts.size(); i++) {
      prompts.add(prompt(texts.get(i), "prompt " + (i + 1)));
    }
    return prompts;
  }

  /** Turns tokens that follow a prompt into text. */
  public Detokenizer detokenizer(List<Integer> prompt) {
    return Detokenizer.after(prompt, tokenizer);
  }

  /** The usual bounds of generation with this model. */
  public Limits limits() {
    return Limits.of(decoder).withVocabulary(vocabulary);
  }

  /** An engine for work that is all there from the beginning. */
  public Engine engine(int batchSize, int maxPending) {
    return engine(Engine::start, batchSize, maxPending);
  }

  /** An engine for work that is all there from the beginning; other ranks may share the model. */
  public Engine engine(EngineStarter engines, int batchSize, int maxPending) {
    return engines.start(
        decoder,
        limits()
            .withBatchSize(batchSize)
            .withMaxPending(maxPending)
            .withMaxQueued(Integer.MAX_VALUE));
  }

  /** Continues texts, one after the other, on the calling thread. */
  public List<Result> generate(List<Request> requests) {
    return generate(requests, 1);
  }

  /** Continues so many texts at a time, and then the next ones, on the calling thread. */
  public List<Result> generate(List<Request> requests, int batchSize) {
    return Generator.generateInGroups(decoder, limits().withBatchSize(batchSize), requests);
  }

  @Override
  public void close() {
    decoder.close();
  }
}

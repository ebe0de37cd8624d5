package org.eellm.train;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.SequencedMap;
import java.util.TreeMap;
import java.util.function.IntUnaryOperator;
import org.eellm.checkpoint.TrainingFiles;
import org.eellm.config.ConfigException;
import org.eellm.config.DataConfig;
import org.eellm.config.DataConfig.Source;
import org.eellm.config.ModelConfig;
import org.eellm.config.RunConfig;
import org.eellm.data.BlendedSamples;
import org.eellm.data.BlendedSamples.WeightedSource;
import org.eellm.data.DataException;
import org.eellm.data.DatasetSamples;
import org.eellm.data.IndexedDataset;
import org.eellm.data.SampleSource;
import org.eellm.data.Split;
import org.eellm.data.Split.Part;
import org.eellm.data.tokenizer.Tokenizer;
import org.eellm.distributed.collective.Communicator;

/**
 * The samples that a run learns from and is measured on, and the tokenizer that made their tokens.
 */
public final class RunData implements AutoCloseable {
  private final Optional<Tokenizer> tokenizer;
  private final RunConfig config;
  private final SequencedMap<Path, IndexedDataset> datasets = new LinkedHashMap<>();
  private final Map<String, String> checksums = new TreeMap<>();
  private final SampleSource training;
  private final Optional<SampleSource> validation;

  private RunData(RunConfig given) {
    DataConfig data = given.data();
    tokenizer = data.tokenizer().map(path -> Tokenizer.load(Path.of(path)));
    config = withVocabulary(given);
    if (data.sources().isEmpty()) {
      throw new ConfigException(
          "data.sources: is empty; give the prefix of a .bin/.idx pair, made with eellm prepare");
    }
    Split split = new Split(data.split().get(0), data.split().get(1), data.split().get(2));
    training = blend(data.sources(), split, Part.TRAINING);
    validation = validation(data, split);
  }

  /**
   * Opens what a configuration names.
   *
   * @throws ConfigException if it names nothing to train or to evaluate on, or its vocabulary is
   *     not the tokenizer's
   * @throws org.eellm.data.DataException if a dataset or the tokenizer cannot be used
   */
  public static RunData open(RunConfig given) {
    return new RunData(given);
  }

  /**
   * Reads all datasets once, each rank its part, and refuses them if they are not as they were
   * written or have tokens beyond the vocabulary.
   *
   * @param all ranks, each of which calls this
   * @throws DataException that names the file
   */
  void check(Communicator all) {
    for (IndexedDataset dataset : datasets.values()) {
      String part = dataset.checkPart(config.model().vocabSize(), all.rank(), all.size());
      dataset
          .requireWhole(all.gatherTexts(part))
          .ifPresent(checksum -> checksums.put(dataset.prefix().toString(), checksum));
    }
  }

  /** Keeps where training's blend is before a sample, if it has one. */
  void writeBlend(Path checkpoint, long sample) throws IOException {
    if (blend().isPresent()) {
      TrainingFiles.writeBlend(checkpoint, blend().get().position(sample));
    }
  }

  /** Lets training's blend go on from where a checkpoint keeps it, not from its first sample. */
  void seek(Path checkpoint) {
    blend()
        .ifPresent(
            blend ->
                TrainingFiles.readBlend(checkpoint, BlendedSamples.Position.class)
                    .ifPresent(blend::seek));
  }

  private Optional<BlendedSamples> blend() {
    return training instanceof BlendedSamples blended ? Optional.of(blended) : Optional.empty();
  }

  /**
   * Refuses datasets that are not those a checkpoint was made with, as far as {@link #check} knows
   * them.
   *
   * @throws DataException that names the dataset
   */
  void requireThoseOf(Path checkpoint) {
    TrainingFiles.readDatasets(checkpoint)
        .forEach(
            (path, before) -> {
              String now = checksums.getOrDefault(path, before);
              if (!now.equals(before)) {
                throw new DataException(
                    "%s: is not the dataset that %s was trained on (checksums %s, then %s); give that back, or start another run"
                        .formatted(path, checkpoint, now, before));
              }
            });
  }

  /** Checksums of the datasets, by their paths, as {@link #check} found them. */
  Map<String, String> checksums() {
    return checksums;
  }

  /** The configuration with the vocabulary's size in place of 0. */
  RunConfig config() {
    return config;
  }

  /** The tokenizer, where the configuration names one. */
  Optional<Tokenizer> tokenizer() {
    return tokenizer;
  }

  /** Where training's samples come from. */
  public SampleSource training() {
    return training;
  }

  /** Where evaluation's samples come from; empty where the run has no evaluation. */
  Optional<SampleSource> validation() {
    return validation;
  }

  @Override
  public void close() {
    datasets.values().forEach(IndexedDataset::close);
  }

  /** Bytes of the text that a token stands for; 0 where there is no tokenizer. */
  IntUnaryOperator bytesOfToken() {
    return tokenizer.<IntUnaryOperator>map(present -> present::byteLength).orElse(_ -> 0);
  }

  private RunConfig withVocabulary(RunConfig given) {
    ModelConfig model = given.model();
    int tokens = tokenizer.map(Tokenizer::vocabSize).orElse(0);
    if (model.vocabSize() == 0 && tokenizer.isEmpty()) {
      throw new ConfigException(
          "model.vocab_size: 0 takes the tokenizer's size, but there is no data.tokenizer; set"
              + " either");
    }
    if (model.vocabSize() > 0 && model.vocabSize() < tokens) {
      throw new ConfigException(
          "model.vocab_size: %d is below the %d tokens of data.tokenizer %s; use 0 to take its size"
              .formatted(model.vocabSize(), tokens, given.data().tokenizer().orElseThrow()));
    }
    int multiple = model.vocabMultiple();
    int size =
        model.vocabSize() > 0 ? model.vocabSize() : Math.ceilDiv(tokens, multiple) * multiple;
    return given.withModel(model.withVocabSize(size));
  }

  private Optional<SampleSource> validation(DataConfig data, Split split) {
    if (config.train().evalInterval() == 0) {
      return Optional.empty();
    }
    if (!data.validation().isEmpty()) {
      return Optional.of(blend(data.validation(), Split.VALIDATION_ONLY, Part.VALIDATION));
    }
    if (split.validation() == 0) {
      throw new ConfigException(
          "data.split: %s leaves nothing to evaluate on; give a second share, data.validation, or train.eval_interval 0"
              .formatted(data.split()));
    }
    return Optional.of(blend(data.sources(), split, Part.VALIDATION));
  }

  private SampleSource blend(List<Source> sources, Split split, Part part) {
    OptionalInt documentEnd =
        config.data().attendAcrossDocuments()
            ? OptionalInt.empty()
            : OptionalInt.of(tokenizer.orElseThrow().endOfDocument());
    List<WeightedSource> blend = new ArrayList<>();
    for (Source source : sources) {
      IndexedDataset dataset =
          datasets.computeIfAbsent(Path.of(source.path()), IndexedDataset::open);
      documentEnd.ifPresent(dataset::requireDocumentEnd);
      blend.add(
          new WeightedSource(
              new DatasetSamples(
                  dataset,
                  split,
                  part,
                  new DatasetSamples.Shape(
                      config.data().sequenceLength(), config.model().vocabSize(), documentEnd),
                  config.train().seed()),
              source.weight()));
    }
    return blend.size() == 1 ? blend.getFirst().source() : new BlendedSamples(blend);
  }
}

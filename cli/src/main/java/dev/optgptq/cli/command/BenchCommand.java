package dev.optgptq.cli.command;

import dev.optgptq.cli.console.Console;
import dev.optgptq.cli.console.JobProgress;
import dev.optgptq.cli.console.TextTable;
import dev.optgptq.cli.render.BenchText;
import dev.optgptq.cli.render.ConvertBenchText;
import dev.optgptq.cli.render.GenerateBenchText;
import dev.optgptq.cli.render.PlanText;
import dev.optgptq.cli.render.ReportJson;
import dev.optgptq.cli.render.TextFile;
import dev.optgptq.formats.UserError;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.json.Json;
import dev.optgptq.gptq.bench.Bench;
import dev.optgptq.gptq.bench.BenchReport;
import dev.optgptq.gptq.bench.ConvertBenchReport;
import dev.optgptq.gptq.bench.GenerateReport;
import dev.optgptq.gptq.bench.ModelShape;
import dev.optgptq.gptq.bench.plan.JobPlan;
import dev.optgptq.gptq.report.RunReport;
import dev.optgptq.gptq.settings.Origin;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.DeviceGroup;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;
import tools.jackson.databind.JsonNode;

@Command(name = "bench", mixinStandardHelpOptions = true, header = "Compare a run with this machine's peak, or measure the machine.", description = {
        "",
        "With a report: measures the sgemm rate now and divides each phase's floating-point operations by it. The result is the "
                + "least time the phase could take. Run it right after the quantize run that wrote the report.",
        "",
        "With --shape: quantizes random weights of a model's shape in memory and times each op. Needs no model files."}, footer = {
                "", "Examples:", "  opt-gptq bench out/w4/report.json",
                "  opt-gptq bench --shape llama-7b --samples 16",
                "  opt-gptq bench --shape llama-7b --convert",
                "  opt-gptq bench --shape llama-405b --plan --nodes 4 --cards 8"})
final class BenchCommand implements Callable<Integer> {

    private static final int SIZE = 2048;
    private static final int REPEATS = 9;

    private final Console console;

    @Spec
    private CommandSpec spec = CommandSpec.create();

    @Parameters(arity = "0..1", paramLabel = "REPORT_JSON", description = "report.json of a quantize run")
    private @Nullable Path report;

    @ArgGroup(validate = false, heading = "%nInstead of a report:%n")
    private ShapeOptions shape = new ShapeOptions();

    @ArgGroup(validate = false, heading = "%nGenerating, with --shape:%n")
    private BenchGenerateOptions generate = new BenchGenerateOptions();

    @ArgGroup(validate = false, heading = "%nConverting, with --shape:%n")
    private BenchConvertOptions convert = new BenchConvertOptions();

    @ArgGroup(validate = false, heading = "%nPlanning, with --shape:%n")
    private BenchPlanOptions plan = new BenchPlanOptions();

    @ArgGroup(validate = false, heading = "%nMachine:%n")
    private MachineOptions machine = new MachineOptions();

    BenchCommand(Console console) {
        this.console = console;
    }

    @Override
    public Integer call() {
        String name = shape.shape;
        if ((report == null) == (name == null)) {
            throw new ParameterException(spec.commandLine(),
                    report == null ? "give a REPORT_JSON, or a --shape" : "give a REPORT_JSON or a --shape, not both");
        }
        shape.checkIdle(spec.commandLine().getParseResult(), name != null);
        if (convert.convert && (name == null || generate.generate)) {
            throw new ParameterException(spec.commandLine(), "--convert wants a --shape, and no --generate");
        }
        convert.checkIdle(spec.commandLine().getParseResult());
        if (plan.plan && (name == null || generate.generate || convert.convert)) {
            throw new ParameterException(spec.commandLine(), "--plan wants a --shape, and no --generate or --convert");
        }
        plan.checkIdle(spec.commandLine().getParseResult());
        if (name != null) {
            measure(ModelShape.of(name));
        } else if (report != null) {
            holdAgainstTheFloor(report);
        }
        return ExitCode.DONE;
    }

    private void measure(ModelShape wanted) {
        if (generate.generate) {
            decode(wanted);
            return;
        }
        shape.check();
        if (convert.convert) {
            convert(wanted);
            return;
        }
        if (plan.plan) {
            plan(wanted);
            return;
        }
        TextFile.prepare(shape.json);
        BenchReport measured;
        try (JobProgress progress = console.progress(); DeviceGroup opened = machine.openGroup(progress::log)) {
            measured = new Bench(wanted, opened, shape.calibrator, shape.precision, shape.samples,
                    shape.sequenceLength(wanted.spec().maxPositions())).run(
                            new Origin(Version.TOOL, Version.number(), List.of()), progress,
                            progress::log);
        }
        if (shape.json != null) {
            TextFile.write(shape.json, ReportJson.text(measured));
        }
        console.print(BenchText.of(measured));
    }

    private void convert(ModelShape wanted) {
        TextFile.prepare(shape.json);
        ConvertBenchReport measured;
        try (JobProgress progress = console.progress(); Device device = machine.open(progress::log)) {
            measured = convert.bench(wanted, device, shape.samples,
                    shape.sequenceLength(wanted.spec().maxPositions()), shape.precision)
                    .run(Version.TOOL + " " + Version.number(),
                            progress, progress::log);
        }
        if (shape.json != null) {
            TextFile.write(shape.json, ReportJson.text(measured));
        }
        console.print(ConvertBenchText.of(measured));
    }

    private void plan(ModelShape wanted) {
        TextFile.prepare(shape.json);
        JobPlan planned = plan.plan(wanted, shape.samples, shape.sequenceLength(wanted.spec().maxPositions()),
                Version.TOOL + " " + Version.number());
        if (shape.json != null) {
            TextFile.write(shape.json, ReportJson.text(planned));
        }
        console.print(PlanText.of(planned));
    }

    private void decode(ModelShape wanted) {
        TextFile.prepare(shape.json);
        GenerateReport measured;
        try (JobProgress progress = console.progress()) {
            measured = generate.bench(wanted, () -> machine.open(line -> {}))
                    .run(Version.TOOL + " " + Version.number(), progress::log);
        }
        if (shape.json != null) {
            TextFile.write(shape.json, ReportJson.text(measured));
        }
        console.print(GenerateBenchText.of(measured));
    }

    private void holdAgainstTheFloor(Path file) {
        List<RunReport.Phase> phases = phases(file);
        try (Device opened = machine.open(console::say)) {
            double rate = gemmRate(opened);
            TextTable table = TextTable.of("phase", "seconds", "GFLOP", "GFLOP/s", "floor s", "times floor");
            double[] quantize = new double[2];
            for (RunReport.Phase phase : phases) {
                table.row(cells(phase.name(), phase.seconds(), phase.flops(), rate));
                if (!phase.name().startsWith("evaluate")) {
                    quantize[0] += phase.seconds();
                    quantize[1] += phase.flops();
                }
            }
            table.row(cells("quantize, total", quantize[0], quantize[1], rate));
            console.print(String.format(Locale.ROOT, "sgemm %d x %d x %d, measured now: %.1f GFLOP/s (median of %d)%n",
                    SIZE, SIZE, SIZE, rate / 1e9, REPEATS) + table.text(""));
        }
    }

    private static String[] cells(String name, double seconds, double flops, double rate) {
        boolean arithmetic = flops > 0;
        return new String[] {name, format(seconds), arithmetic ? format(flops / 1e9) : "",
                arithmetic ? format(flops / seconds / 1e9) : "", arithmetic ? format(flops / rate) : "",
                arithmetic ? format(seconds * rate / flops) : ""};
    }

    private static String format(double value) {
        return String.format(Locale.ROOT, "%.2f", value);
    }

    private static List<RunReport.Phase> phases(Path file) {
        JsonNode json = Json.readObject(file, UserError.Code.BAD_TEXT);
        if (!json.path("phases").isArray()) {
            throw new UserError(UserError.Code.BAD_TEXT, file + " is not a report of opt-gptq quantize");
        }
        return json.path("phases").valueStream().map(node -> new RunReport.Phase(node.path("name").asString(),
                node.path("seconds").asDouble(), node.path("flops").asDouble())).toList();
    }

    private static double gemmRate(Device device) {
        try (TensorArena arena = device.arena()) {
            Tensor a = arena.matrix(DType.F32, SIZE, SIZE);
            Tensor b = arena.matrix(DType.F32, SIZE, SIZE);
            Tensor c = arena.matrix(DType.F32, SIZE, SIZE);
            device.matrix().fill(a, 0.5f);
            device.matrix().fill(b, 0.25f);
            double[] rates = new double[REPEATS];
            for (int i = 0; i < REPEATS; i++) {
                long start = System.nanoTime();
                device.matrix().gemm(1, a, false, b, true, 0, c);
                device.synchronize();
                rates[i] = 2.0 * SIZE * SIZE * SIZE / ((System.nanoTime() - start) / 1e9);
            }
            Arrays.sort(rates);
            return rates[REPEATS / 2];
        }
    }
}

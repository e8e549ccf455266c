package dev.optgptq.cli.architecture;

import static com.tngtech.archunit.base.DescribedPredicate.not;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.belongToAnyOf;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAPackage;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAnyPackage;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.type;
import static com.tngtech.archunit.core.domain.JavaModifier.FINAL;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.fields;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static com.tngtech.archunit.library.dependencies.SlicesRuleDefinition.slices;

import com.tngtech.archunit.base.DescribedPredicate;
import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.lang.ArchRule;
import dev.optgptq.cli.Main;
import dev.optgptq.cli.console.Terminal;
import dev.optgptq.formats.UserError;
import dev.optgptq.gptq.solve.ActOrder;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import dev.optgptq.kernels.SelfTest;
import dev.optgptq.kernels.gpu.GpuDevices;
import dev.optgptq.formats.tokenizer.TokenizerMain;
import dev.optgptq.kernels.gpu.rtc.CompileMain;
import java.util.List;

/** The rules of the table "Where things go" in CONTRIBUTING.md, and the finer ones under it. */
final class Rules {

    private static final String FORMATS = "dev.optgptq.formats..";
    private static final String KERNELS = "dev.optgptq.kernels..";
    private static final String CALIBRATE = "dev.optgptq.calibrate..";
    private static final String GPTQ = "dev.optgptq.gptq..";
    private static final String SOLVE = "dev.optgptq.gptq.solve..";
    private static final String CLI = "dev.optgptq.cli..";
    private static final String[] DEVICES = {"dev.optgptq.kernels.cpu..", "dev.optgptq.kernels.reference..",
            "dev.optgptq.kernels.host..", "dev.optgptq.kernels.blas..", "dev.optgptq.kernels.gpu..",
            "dev.optgptq.kernels.ffm.."};
    /** Float64 on the host, by the same library as the cpu device. */
    private static final String DENSE = "dev.optgptq.kernels.dense..";
    /** Binds a library as devices do. */
    private static final String MPI = "dev.optgptq.kernels.mpi..";
    /** Where libraries are looked for, kernels are compiled and kept, and the system is asked what cards it has. */
    private static final String[] SYSTEM = {"dev.optgptq.kernels.blas..", "dev.optgptq.kernels.ffm..",
            "dev.optgptq.kernels.gpu.blas..", "dev.optgptq.kernels.gpu.driver..", "dev.optgptq.kernels.gpu.rtc.."};
    private static final String[] FILES = {"java.nio.file..", "java.nio.channels..", "java.io..",
            "dev.optgptq.formats.model..", "dev.optgptq.formats.safetensors..", "dev.optgptq.formats.packed..",
            "dev.optgptq.formats.tokenizer..", "dev.optgptq.formats.json..", "dev.optgptq.formats.files.."};

    private Rules() {}

    static List<Rule> arrows() {
        return List.of(
                Rule.of("formats knows no module above it", never(FORMATS, KERNELS, CALIBRATE, GPTQ, CLI), """
                        package dev.optgptq.formats.packed;
                        class Dequantizer { dev.optgptq.kernels.Tensor tensor; }
                        """),
                Rule.of("kernels knows no module above it", never(KERNELS, CALIBRATE, GPTQ, CLI), """
                        package dev.optgptq.kernels.cpu;
                        class FamilyKernel { dev.optgptq.calibrate.family.ModelSpec spec; }
                        """),
                Rule.of("calibrate knows no module above it", never(CALIBRATE, GPTQ, CLI), """
                        package dev.optgptq.calibrate.capture;
                        class EagerSolver { dev.optgptq.gptq.solve.ActOrder order; }
                        """),
                Rule.of("gptq does not know the command line", never(GPTQ, CLI), """
                        package dev.optgptq.gptq.run;
                        class Printer { dev.optgptq.cli.console.Console console; }
                        """),
                Rule.of("packages do not know each other in circles", noCircles(), """
                        package dev.optgptq.calibrate.model;
                        public class There { dev.optgptq.calibrate.capture.Back back; }
                        """, """
                        package dev.optgptq.calibrate.capture;
                        public class Back { dev.optgptq.calibrate.model.There there; }
                        """));
    }

    static List<Rule> knowledge() {
        return List.of(
                Rule.of("of formats, kernels knows dtypes, errors and where native libraries lie",
                        noClasses().that().resideInAPackage(KERNELS).should()
                                .dependOnClassesThat(formatsBeyondDTypes()),
                        """
                                package dev.optgptq.kernels.cpu;
                                class ModelReader { dev.optgptq.formats.model.ModelDirectory directory; }
                                """),
                Rule.of("kernels touches no files of a model",
                        noClasses().that().resideInAPackage(KERNELS).and().resideOutsideOfPackages(SYSTEM).should()
                                .dependOnClassesThat().resideInAnyPackage("java.nio.file..", "java.nio.channels.."),
                        """
                                package dev.optgptq.kernels.cpu;
                                class WeightMapper { java.nio.file.Path path; }
                                """),
                Rule.of("which device computes is known to Devices and the self-test alone",
                        noClasses().that().resideOutsideOfPackages(DEVICES).and().resideOutsideOfPackages(DENSE, MPI)
                                .and()
                                .doNotBelongToAnyOf(Devices.class, SelfTest.class)
                                .should().dependOnClassesThat().resideInAnyPackage(DEVICES),
                        """
                                package dev.optgptq.calibrate.model;
                                class CpuForwardPass { dev.optgptq.kernels.cpu.CpuDevice device; }
                                """),
                Rule.of("the solver is pure functions over matrices: no files, no models, no run",
                        never(SOLVE, FILES).because("a solver that reads could not be held against exact solutions"),
                        """
                                package dev.optgptq.gptq.solve;
                                class CachedFactor { java.nio.file.Path file; }
                                """),
                Rule.of("the solver knows nothing of how inputs were captured",
                        never(SOLVE, CALIBRATE, "dev.optgptq.gptq.run..", "dev.optgptq.gptq.report.."), """
                                package dev.optgptq.gptq.solve;
                                class FamilySolver { dev.optgptq.calibrate.family.ModelSpec spec; }
                                """),
                Rule.of("the command line knows no algorithm",
                        noClasses().that().resideInAPackage(CLI).should().dependOnClassesThat(
                                resideInAPackage(SOLVE)
                                        .and(not(type(ActOrder.class)))),
                        """
                                package dev.optgptq.cli.command;
                                class OwnSolver { dev.optgptq.gptq.solve.SolveSettings settings; }
                                """),
                Rule.of("no class is made for one model family", noClasses().that().areTopLevelClasses()
                        .should().haveSimpleNameStartingWith("Llama").orShould().haveSimpleNameStartingWith("Mpt")
                        .because("a family is data: a description in calibrate/.../families"), """
                                package dev.optgptq.calibrate.model;
                                class LlamaForwardPass {}
                                """));
    }

    static List<Rule> libraries() {
        return List.of(
                Rule.of("picocli stays in the command line", only(CLI, "picocli.."), """
                        package dev.optgptq.gptq.run;
                        class Settings { @picocli.CommandLine.Option(names = "--bits") int bits; }
                        """),
                Rule.of("the DJL tokenizer stays in one package", only("dev.optgptq.formats.tokenizer..", "ai.djl.."),
                        """
                                package dev.optgptq.calibrate.data;
                                class Pieces { ai.djl.huggingface.tokenizers.HuggingFaceTokenizer tokenizer; }
                                """),
                Rule.of("the Parquet reader stays in one package",
                        only("dev.optgptq.formats.parquet..", "dev.hardwood.."),
                        """
                                package dev.optgptq.calibrate.data;
                                class Rows { dev.hardwood.reader.RowReader reader; }
                                """),
                Rule.of("the YAML parser stays in one package", only("dev.optgptq.gptq.recipe..", "org.snakeyaml.."),
                        """
                                package dev.optgptq.gptq.run;
                                class Notes { org.snakeyaml.engine.v2.nodes.Node root; }
                                """),
                Rule.of("java.util.logging is for quieting libraries", noClasses().that()
                        .resideOutsideOfPackages("dev.optgptq.formats.tokenizer..", "dev.optgptq.formats.parquet..")
                        .should()
                        .dependOnClassesThat().resideInAPackage("java.util.logging.."), """
                                package dev.optgptq.gptq.run;
                                class Diary { java.util.logging.Logger logger; }
                                """),
                Rule.of("native libraries are bound in packages of their own", noClasses().that()
                        .resideOutsideOfPackages("dev.optgptq.kernels.blas..", "dev.optgptq.kernels.ffm..").should()
                        .dependOnClassesThat()
                        .haveFullyQualifiedName("java.lang.foreign.Linker").orShould().dependOnClassesThat()
                        .haveFullyQualifiedName("java.lang.foreign.SymbolLookup"), """
                                package dev.optgptq.kernels.cpu;
                                class DirectCall { java.lang.foreign.Linker linker; }
                                """),
                Rule.of("the Vector API stays on the cpu device", only("dev.optgptq.kernels.cpu..",
                        "jdk.incubator.vector.."), """
                                package dev.optgptq.calibrate.capture;
                                class FastSum { jdk.incubator.vector.FloatVector sum; }
                                """),
                Rule.of("no large matrices in Commons Math", noClasses().should().dependOnClassesThat()
                        .resideInAPackage("org.apache.commons.math3.linear.."), """
                                package dev.optgptq.gptq.run;
                                class SlowInverse { org.apache.commons.math3.linear.RealMatrix matrix; }
                                """));
    }

    static List<Rule> conduct() {
        return List.of(
                Rule.of("only a main ends its process", noClasses().that()
                        .doNotBelongToAnyOf(Main.class, CompileMain.class, TokenizerMain.class).should()
                        .callMethod(System.class, "exit", int.class).orShould()
                        .callMethod(Runtime.class, "exit", int.class).orShould()
                        .callMethod(Runtime.class, "halt", int.class), """
                                package dev.optgptq.cli.command;
                                class Impatient { void run() { System.exit(1); } }
                                """),
                Rule.of("only the command line prints, through its console",
                        noClasses().that()
                                .doNotBelongToAnyOf(Main.class, Terminal.class, CompileMain.class, TokenizerMain.class)
                                .should().accessField(System.class, "out").orShould()
                                .accessField(System.class, "err").orShould()
                                .callMethod(Throwable.class, "printStackTrace"),
                        """
                                package dev.optgptq.gptq.run;
                                class Chatty { void run() { System.err.println("solved"); } }
                                """),
                Rule.of("no state is shared behind the callers' backs", fields().that().areStatic().should()
                        .haveModifier(FINAL), """
                                package dev.optgptq.gptq.run;
                                class Counter { static int runs; }
                                """));
    }

    /** Nothing in the package knows any of the others. */
    private static ArchRule never(String one, String... others) {
        return noClasses().that().resideInAPackage(one).should().dependOnClassesThat().resideInAnyPackage(others);
    }

    /** Nothing outside of the package knows the library. */
    private static ArchRule only(String one, String library) {
        return noClasses().that().resideOutsideOfPackage(one).should().dependOnClassesThat().resideInAPackage(library);
    }

    private static ArchRule noCircles() {
        // Devices and the self-test name the devices, GpuDevices the parts of a GPU's; all of these know the interfaces
        // beside them. A device, and its self-test, name the op sets, which are over the tensors
        // beside it.
        return slices().matching("dev.optgptq.(**)").should().beFreeOfCycles()
                .ignoreDependency(belongToAnyOf(Devices.class, SelfTest.class), resideInAnyPackage(DEVICES))
                .ignoreDependency(belongToAnyOf(Device.class, SelfTest.class),
                        resideInAPackage("dev.optgptq.kernels.ops"))
                .ignoreDependency(type(GpuDevices.class), resideInAPackage("dev.optgptq.kernels.gpu.."));
    }

    private static DescribedPredicate<JavaClass> formatsBeyondDTypes() {
        return resideInAPackage(FORMATS)
                .and(not(resideInAnyPackage("dev.optgptq.formats.dtype..", "dev.optgptq.formats.natives..")))
                .and(not(belongToAnyOf(UserError.class)))
                .as("more of formats than dtypes, errors and where native libraries lie");
    }
}
